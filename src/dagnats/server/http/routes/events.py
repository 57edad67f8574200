"""What happens in a run, as a list or as a stream, and events published from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from msgspec import Meta, Raw
from starlette.responses import Response

from dagnats.errors import InvalidError
from dagnats.server.http.operations import Call, Query, operation
from dagnats.server.http.routes.runs import MAX_PAGE, Cursor, Limit
from dagnats.server.http.stream import Item, event_stream
from dagnats.services import events, run_events, run_query, run_watch
from dagnats.services.events import PublishedEvent
from dagnats.services.run_events import RunEvent

TAG = "events"


class EventsQuery(Query, frozen=True, kw_only=True):
    """Which events are wanted."""

    type: Annotated[str, Meta(description="exact type, e.g. step.failed")] = ""
    step: Annotated[str, Meta(description="exact step id")] = ""
    limit: Limit = 1000
    cursor: Cursor = ""


class PublishQuery(Query, frozen=True, kw_only=True):
    """`id`: publishing twice with one id within two minutes stores one event."""

    id: Annotated[str, Meta(max_length=256)] = ""


@operation("GET", "/runs/{run_id}/events", tag=TAG)
async def list_events(call: Call, run_id: str, query: EventsQuery) -> list[RunEvent] | Response:
    """The events of a run, in order.

    With `Accept: text/event-stream` they come as they happen, until the run has ended;
    `Last-Event-ID` names the sequence to go on behind.
    """
    if "text/event-stream" in call.request.headers.get("accept", ""):
        await run_query.appearing_run(call.session, run_id)
        return event_stream(_follow(call, run_id, query), call.closing)
    after = sequence(query.cursor)
    found = await run_events.run_events(call.session, run_id, query.type, query.step)
    rest = [event for event in found if event.seq > after]
    page = rest[: min(query.limit, MAX_PAGE)]
    if len(page) < len(rest):
        call.next_page(str(page[-1].seq))
    return page


async def _follow(call: Call, run_id: str, query: EventsQuery) -> AsyncIterator[Item]:
    after = sequence(call.request.headers.get("last-event-id", "") or query.cursor)
    async for event in run_watch.follow_run(call.session, run_id, after):
        if query.type in ("", event.type) and query.step in ("", event.step_id):
            yield Item(event.type, msgspec.json.encode(event), str(event.seq))
    yield Item("end", b"{}")


@operation("POST", "/events/{event_type:path}", tag=TAG, status=201, schema=dict[str, Raw])
async def publish_event(
    call: Call, event_type: str, query: PublishQuery, body: bytes
) -> PublishedEvent:
    """Publish an event that waiting steps may match; the body is a JSON object, not empty."""
    return await events.publish_event(call.session, event_type, body, query.id)


def sequence(text: str) -> int:
    """A sequence given as a cursor; 0 without one.

    Raises:
        InvalidError: it is no number.
    """
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise InvalidError(f"{text[:64]!r} is not a sequence", "take it from the Link header")
