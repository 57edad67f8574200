"""Signatures of webhooks and HTTP triggers (``wire.md`` 9.5), and ours with a time in them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

HEADER = "x-signature-256"
STAMP = "x-signature-timestamp"
TIMESTAMPED = "timestamped"

TOLERANCE_S = 300
"""How far the time in a signature may be off, in seconds (``reliability.md`` 3.7)."""


def sign(secret: str, body: bytes, stamp: str = "") -> str:
    """The value of the signature header.

    Args:
        secret: shared with the sender.
        body: the raw request body.
        stamp: Unix time in seconds as sent in ``X-Signature-Timestamp``; empty: not timestamped.
    """
    signed = f"{stamp}.".encode() + body if stamp else body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def problem(secret: str, mode: str, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """Why a request is not to be trusted; empty when it is.

    Args:
        secret: of the trigger; empty: everybody is trusted.
        mode: ``timestamped``, or anything else for the body alone.
        headers: by lower-case name.
        body: the raw request body.
        now_s: Unix time in seconds.
    """
    if not secret:
        return ""
    stamp = headers.get(STAMP, "") if mode == TIMESTAMPED else ""
    if mode == TIMESTAMPED and not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return "invalid signature timestamp"
    given = headers.get(HEADER, "").encode(errors="replace")
    if not hmac.compare_digest(given, sign(secret, body, stamp).encode()):
        return "invalid signature"
    if stamp and abs(now_s - int(stamp)) > TOLERANCE_S:
        return "signature timestamp is too old or too new"
    return ""
