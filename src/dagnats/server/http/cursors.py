"""Cursors: where a list of runs goes on. Opaque to clients, checked when they come back."""

from __future__ import annotations

import base64
import binascii

from dagnats.errors import InvalidError
from dagnats.model.run import WorkflowRun
from dagnats.services.run_query import created_ns

MAX_CURSOR = 1000


def of_run(run: WorkflowRun) -> str:
    """The cursor behind a run in the order newest first."""
    return base64.urlsafe_b64encode(f"{created_ns(run)}.{run.run_id}".encode()).decode()


def read_run(cursor: str) -> tuple[int, str] | None:
    """Creation time (ns since 1970) and id of the run before the page; ``None`` without a cursor.

    Raises:
        InvalidError: this server made no such cursor.
    """
    if not cursor:
        return None
    try:
        text = base64.b64decode(cursor[:MAX_CURSOR].encode(), b"-_", validate=True).decode()
        created, separator, run_id = text.partition(".")
        if not separator or len(created) > 20:
            raise ValueError
        return int(created), run_id
    except (ValueError, binascii.Error):
        raise InvalidError(
            f"cursor {cursor[:64]!r} is not one of ours", "take it from the Link header"
        ) from None
