"""The dead-letter queue."""

from __future__ import annotations

from msgspec import Raw

from dagnats.model.codec import ABSENT, is_absent
from dagnats.model.records import DeadLetter
from dagnats.server.http.operations import Body, Call, Query, operation
from dagnats.server.http.routes.events import sequence
from dagnats.server.http.routes.runs import MAX_PAGE, Cursor, Limit
from dagnats.services import dlq
from dagnats.services.dlq import Discarded, Replayed

TAG = "dead letters"


class DeadQuery(Query, frozen=True, kw_only=True):
    """Which dead letters are wanted."""

    run: str = ""
    limit: Limit = 50
    cursor: Cursor = ""


class ReplayBody(Body, frozen=True, kw_only=True):
    """Another input for the step than the recorded one."""

    input: Raw = ABSENT


@operation("GET", "/dlq", tag=TAG)
async def list_dead(call: Call, query: DeadQuery) -> list[DeadLetter]:
    """Dead letters, oldest first. If there are more, a `Link` header names the next page."""
    after, limit = sequence(query.cursor), min(query.limit, MAX_PAGE)
    page = await dlq.list_dead(call.session, query.run, limit, after=after)
    if page.truncated:
        call.next_page(str(page.entries[-1].sequence))
    return page.entries


@operation("GET", "/dlq/{sequence}", tag=TAG)
async def get_dead(call: Call, sequence: int) -> DeadLetter:
    """One dead letter."""
    return await dlq.get_dead(call.session, sequence)


@operation("POST", "/dlq/{sequence}/replay", tag=TAG)
async def replay_dead(call: Call, sequence: int, body: ReplayBody = ReplayBody()) -> Replayed:  # noqa: B008 - frozen
    """Reopen the failed run at the failed step; the entry leaves the queue."""
    given = None if is_absent(body.input) else bytes(body.input)
    return await dlq.replay(call.session, sequence, given)


@operation("DELETE", "/dlq/{sequence}", tag=TAG)
async def discard_dead(call: Call, sequence: int) -> Discarded:
    """Throw a dead letter away; its run stays as it is."""
    return await dlq.discard(call.session, sequence)
