"""W3C trace context: who caused what, across processes."""

from __future__ import annotations

import re
import secrets

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TRACEPARENT = "traceparent"
"""The header that carries a context, in NATS in lower case."""

SAMPLED = "01"
LENGTH = 55
"""Characters of a context of version 00."""


def clean_traceparent(text: str) -> str:
    """A ``traceparent`` of a stranger if it is one, else nothing."""
    text = text.strip()[:64].lower()
    return text if _PARENT.fullmatch(text) else ""


def trace_id_of(traceparent: str) -> str:
    """The trace id, 32 hex digits; empty when there is none."""
    return traceparent.split("-")[1] if clean_traceparent(traceparent) else ""


def span_id_of(traceparent: str) -> str:
    """The span id, 16 hex digits; empty when there is none."""
    return traceparent.split("-")[2] if clean_traceparent(traceparent) else ""


def is_sampled(traceparent: str) -> bool:
    """Whether whoever began the trace wants it recorded."""
    # The last digit holds the flag; contexts of ours end in 01.
    return len(traceparent) == LENGTH and traceparent[-1] in "13579bdf"


def make_traceparent(trace_id: str, span_id: str) -> str:
    """The context of a span, as it travels."""
    return f"00-{trace_id}-{span_id}-{SAMPLED}"


def new_trace_id() -> str:
    """A fresh trace id: 32 hex digits."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """A fresh span id: 16 hex digits."""
    return secrets.token_hex(8)
