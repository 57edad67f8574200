"""What a connection needs besides an address, checked before it is used.

The client library would fail on it later, in words that nobody understands.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from dagnats.errors import InvalidError

LARGEST = 1 << 20
"""A login is not longer than this, in bytes."""

_CREDS = re.compile(
    r"BEGIN NATS USER JWT-+\s+\S+\s+-+END NATS USER JWT.*BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END",
    re.DOTALL,
)


def check_creds(path: str) -> None:
    """Refuse what is no credentials file.

    Raises:
        InvalidError: there is no user and seed in it.
    """
    found = _CREDS.search(_text(path))
    _check_seed(found[1] if found else "", f"credentials file {path}")


def check_nkey(path: str) -> None:
    """Refuse what is no file with a seed.

    Raises:
        InvalidError: there is none in it.
    """
    _check_seed(_text(path), f"nkey file {path}")


def tls_context(ca: str, cert: str, key: str) -> ssl.SSLContext | None:
    """What to trust and to show; ``None`` when nothing is given.

    Raises:
        InvalidError: the files cannot be used.
    """
    if not (ca or cert):
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except OSError as error:  # ssl.SSLError is one.
        text = f"the certificates cannot be used: {error.strerror or error}"
        raise InvalidError(text, "--tls-ca, --tls-cert and --tls-key name PEM files") from None
    return context


def _text(path: str) -> str:
    with Path(path).open("rb") as file:
        return file.read(LARGEST).decode("utf-8", "replace")


def _check_seed(text: str, what: str) -> None:
    import nkeys

    try:
        nkeys.from_seed(bytearray(text.strip().encode()))
    except (nkeys.NkeysError, ValueError, TypeError):
        raise InvalidError(f"{what} holds no seed", "'nsc' or 'nk' makes such files") from None
