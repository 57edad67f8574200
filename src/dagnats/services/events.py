"""Publishing an event that waiting steps and cancel rules may match."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json
from dagnats.services import audit
from dagnats.services.runs import parse_json_input
from dagnats.services.session import Session
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing


class PublishedEvent(Struct, frozen=True):
    """An event that was stored, and its sequence in stream EVENTS."""

    event_type: str
    sequence: int


async def publish_event(
    session: Session, event_type: str, body: bytes, event_id: str = ""
) -> PublishedEvent:
    """Publish an event.

    Args:
        session: the connection.
        event_type: dotted name, e.g. ``order.paid``.
        body: a JSON object that is not empty (``wire.md`` 16.17: Go processes die of others).
        event_id: publishing twice with one id stores one event, within two minutes.

    Raises:
        InvalidError: the type is no clean subject, or the body no such object.
    """
    subject = subjects.event(event_type)
    given = parse_json_input(body, "event body")
    value: Any = parse_json(bytes(given))
    if not isinstance(value, dict) or not value:
        raise InvalidError(
            "event body must be a JSON object with at least one key",
            """for example '{"id": 42}'""",
        )
    ack = await session.bus.publisher.publish(Outgoing(subject, bytes(given), event_id))
    await audit.record(session, "event.publish", event_type, {"sequence": ack.seq})
    return PublishedEvent(event_type, ack.seq)
