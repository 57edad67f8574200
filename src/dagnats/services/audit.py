"""The trail of what operators did."""

from __future__ import annotations

import secrets
from typing import Any

from dagnats.errors import InvalidError
from dagnats.model.records import AuditEvent
from dagnats.model.times import SECOND, format_time
from dagnats.services.session import Session
from dagnats.services.tolerant import put_if_there
from dagnats.wire.errors import MissingError


async def record(
    session: Session,
    action: str,
    target: str,
    data: dict[str, Any] | None = None,
    outcome: str = "success",
) -> None:
    """Write down what was done; without an audit bucket on this server, nothing is written.

    Args:
        session: the connection, and who acts.
        action: what was done, e.g. ``run.cancel`` (``cli-beyond.md`` B12).
        target: to what.
        data: details; never secrets.
        outcome: ``success``, ``denied`` or ``failed``.
    """
    now = session.now()
    event = AuditEvent(
        time=format_time(now),
        actor=session.actor,
        action=action,
        target=target,
        data=data or {},
        outcome=outcome,
    )
    await put_if_there(session.stores.audit, audit_key(now), event)


def audit_key(now: int) -> str:
    """The key of a row: its time, so that keys sort, and something unique (``wire.md`` 2)."""
    stamp = format_time(now - now % SECOND).translate({ord("-"): None, ord(":"): None})
    return f"{stamp[:-1]}.{now % SECOND:09d}Z-{secrets.token_hex(6)}"


async def list_audit(session: Session, limit: int = 100) -> list[AuditEvent]:
    """The newest rows, newest first.

    Raises:
        InvalidError: ``limit`` is not positive.
    """
    if limit < 1:
        raise InvalidError(f"limit must be positive; got {limit}")
    rows: list[AuditEvent] = []
    try:
        async for entry in session.stores.audit.newest():
            rows.append(entry.value)
            if len(rows) == limit:
                break
    except MissingError:
        return []
    return rows
