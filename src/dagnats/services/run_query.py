"""Finding runs: by id, by prefix, newest first, filtered and counted."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable

from msgspec import Struct

from dagnats.errors import AmbiguousError, InvalidError, NotFoundError, UsageError
from dagnats.model.run import RunStatus, WorkflowRun
from dagnats.model.times import MILLISECOND, read_time
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.services.infos import subject_counts
from dagnats.services.session import Session
from dagnats.services.tolerant import entry_of, keys_of, value_of
from dagnats.wire.subjects import is_key

RUN_PREFIX = "run."
"""What the keys of ``workflow_runs`` begin with."""

MIN_PREFIX = 8
"""The shortest prefix of a run id that is looked for (``cli.md`` 1.9)."""

CLOCK_SLACK = 250 * MILLISECOND
"""How much further a run's ``created_at`` may lie after the time NATS stored its snapshot than has
been seen so far: clocks differ, and those who start runs have one of their own."""

APPEAR_S = 2.0
"""How long a started run may be without a snapshot before it counts as not there."""

SETTLE_S = 0.005
"""Between two looks at what was heard of but is not stored yet."""

MATCHES_SHOWN = 5
"""How many of the runs that an ambiguous prefix matches are named."""


class RunRef(Struct, frozen=True):
    """A run that exists, or a scheduled one that does not yet."""

    run_id: str
    scheduled: bool = False


class RunView(Struct, frozen=True):
    """A run with the definition it is pinned to, if that is still known."""

    run: WorkflowRun
    definition: WorkflowDef | None = None

    @property
    def steps(self) -> dict[str, StepDef]:
        """The definitions of the steps, planned ones included, in order."""
        known = self.definition.steps if self.definition else []
        return {step.id: step for step in [*known, *self.run.dynamic_steps]}

    @property
    def step_ids(self) -> list[str]:
        """Every step the run knows: in the order of the definition, then the others by name."""
        order = [step for step in self.steps if step in self.run.steps]
        return order + sorted(set(self.run.steps) - set(order))

    def retries(self, step_id: str) -> int | None:
        """How often a step may be retried; ``None`` when the definition is gone."""
        step = self.steps.get(step_id)
        if step is None or self.definition is None:
            return None
        policy = step.retry or (None if step.retries else self.definition.default_retry)
        return policy.max_attempts if policy else step.retries


class RunQuery(Struct, frozen=True, kw_only=True):
    """Which runs are wanted.

    Args:
        workflow: exact name; empty: all.
        status: exact status in any case; empty: all.
        after, before: bounds of the creation time, inclusive, ns since 1970.
        limit: how many, newest first; ``None``: all.
        text: part of the run id.
        below: only runs that come after this one in the order newest first: its creation time and
            id. A page ends with the ``below`` of the next.
        where: what else must hold.
    """

    workflow: str = ""
    status: str = ""
    after: int | None = None
    before: int | None = None
    limit: int | None = 1000
    text: str = ""
    below: tuple[int, str] | None = None
    where: Callable[[WorkflowRun], bool] | None = None

    def accepts(self, run: WorkflowRun) -> bool:
        """Whether a run is wanted."""
        if self.workflow and run.workflow_id != self.workflow:
            return False
        if self.status and run.status != self.status.lower():
            return False
        if self.text and self.text not in run.run_id:
            return False
        created = created_ns(run)
        if self.below is not None and (-created, run.run_id) <= (-self.below[0], self.below[1]):
            return False
        if self.after is not None and created < self.after:
            return False
        if self.before is not None and created > self.before:
            return False
        return self.where is None or self.where(run)


class RunPage(Struct, frozen=True):
    """Runs, newest first.

    Args:
        runs: the newest that were wanted.
        truncated: there are more; :func:`count_runs` says how many.
        unreadable: snapshots met that nobody can read.
    """

    runs: list[WorkflowRun]
    truncated: bool = False
    unreadable: int = 0


def created_ns(run: WorkflowRun) -> int:
    """When a run was created, ns since 1970; 0 if that is not known."""
    return read_time(run.created_at) or 0


def check_status(status: str) -> None:
    """Refuse a status that no run can have.

    Raises:
        UsageError: naming those there are.
    """
    valid = [known.value for known in RunStatus]
    if status and status.lower() not in valid:
        raise UsageError(f'unknown run status "{status}"; valid: {", ".join(valid)}')


async def resolve_run(session: Session, ref: str, last: bool = False) -> RunRef:
    """The run a person means: a full id, a prefix of 8 or more, or with ``last`` the newest.

    An id given wins over ``last``. Scheduled runs are found as well.

    Raises:
        UsageError: nothing was given, or too short a prefix.
        NotFoundError: no run matches.
        AmbiguousError: several do; they are named.
    """
    if not ref:
        if not last:
            raise UsageError("run ID required", "give a run id, or --last for the newest run")
        return RunRef((await _newest(session)).run_id)
    if is_key(ref) and len(ref) >= MIN_PREFIX and (exact := await _exact(session, ref)):
        return exact
    if len(ref) < MIN_PREFIX:
        raise UsageError(f"run ID prefix must be at least {MIN_PREFIX} characters")
    return await _by_prefix(session, ref)


async def _newest(session: Session) -> WorkflowRun:
    page = await list_runs(session, RunQuery(limit=1))
    if not page.runs:
        raise NotFoundError("no runs found", "start one with 'dagnats run start <workflow>'")
    return page.runs[0]


async def _exact(session: Session, run_id: str) -> RunRef | None:
    if await session.stores.runs.get(RUN_PREFIX + run_id):
        return RunRef(run_id)
    if await entry_of(session.stores.scheduled, run_id):
        return RunRef(run_id, scheduled=True)
    # A run that was started a moment ago may have no snapshot yet.
    if await session.stores.history.first(run_id):
        return RunRef(run_id)
    return None


async def _by_prefix(session: Session, prefix: str) -> RunRef:
    found = dict.fromkeys(await _with_prefix(session, prefix), False)
    for key in await keys_of(session.stores.scheduled):
        if key.startswith(prefix):
            found.setdefault(key, True)
    if not found:
        raise NotFoundError(
            f'no run matching prefix "{prefix[:64]}"', "list runs with 'dagnats run list'"
        )
    if len(found) > 1:
        shown = sorted(found)[:MATCHES_SHOWN]
        more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
        raise AmbiguousError(
            f'ambiguous prefix "{prefix[:64]}": {len(found)} runs match',
            f"{', '.join(shown)}{more}",
        )
    run_id, scheduled = found.popitem()
    return RunRef(run_id, scheduled)


async def _with_prefix(session: Session, prefix: str) -> list[str]:
    """The runs whose id begins with a prefix. A prefix is no subject token, so all names are read;
    the server lists 100,000 in a third of a second (``perf.md`` G).
    """
    before = "$KV.workflow_runs."
    subjects = await subject_counts(session, "KV_workflow_runs", f"{before}{RUN_PREFIX}>")
    wanted = f"{before}{RUN_PREFIX}{prefix}"
    keys = [subject.removeprefix(before) for subject in subjects if subject.startswith(wanted)]
    # Names of deleted runs are still listed; what can be read is there.
    there = await session.stores.runs.get_many(keys)
    return [key.removeprefix(RUN_PREFIX) for key in there]


async def find_run(session: Session, run_id: str) -> WorkflowRun:
    """The snapshot of a run by its full id.

    Raises:
        NotFoundError: there is none.
    """
    entry = await session.stores.runs.get(RUN_PREFIX + run_id) if is_key(run_id) else None
    if entry is None:
        raise NotFoundError(
            f'workflow run "{run_id[:64]}" not found', "list runs with 'dagnats run list'"
        )
    return entry.value


async def appearing_run(session: Session, run_id: str) -> WorkflowRun:
    """The snapshot of a run, waited for if the run was started but has none yet.

    Raises:
        NotFoundError: there is no such run, or no engine took it up in time.
    """
    stores = session.stores
    known = is_key(run_id) and await stores.runs.get(RUN_PREFIX + run_id)
    if known is None and await stores.history.first(run_id):
        await _first_snapshot(session, run_id)
    return await find_run(session, run_id)


async def _first_snapshot(session: Session, run_id: str) -> None:
    runs, key = session.stores.runs, RUN_PREFIX + run_id
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(APPEAR_S):
            async for _ in runs.watch(key):
                # A write is heard a moment before it can be read; nothing tells of that moment.
                while await runs.get(key) is None:  # noqa: ASYNC110
                    await asyncio.sleep(SETTLE_S)
                return


async def get_run(session: Session, run_id: str) -> RunView:
    """A run and the definition it is pinned to; waited for if it was started a moment ago.

    Raises:
        NotFoundError: there is no such run, or no engine took it up in time.
    """
    run = await appearing_run(session, run_id)
    return RunView(run, await definition_of(session, run))


async def definition_of(session: Session, run: WorkflowRun) -> WorkflowDef | None:
    """The definition a run is pinned to; the current one where nothing else is known."""
    stores = session.stores
    if run.revision:
        pinned = await value_of(stores.revisions, f"{run.workflow_id}.{run.revision}")
        if pinned is not None:
            return pinned
    return await value_of(stores.definitions, run.workflow_id)


async def list_runs(session: Session, query: RunQuery) -> RunPage:
    """The newest runs that are wanted, exactly, without reading more than that takes.

    A bucket lists what was last *written* first. A run is created no later than it is written, but
    for clocks that differ, so once the oldest of the best n is younger than the write at hand
    nothing better can follow.

    Raises:
        UsageError: no run can have the status asked for.
    """
    check_status(query.status)
    runs = session.stores.runs
    before = runs.unreadable
    if query.limit is None:
        found = [run async for run in scan_runs(session, query)]
        found.sort(key=_age)
        return RunPage(found, unreadable=runs.unreadable - before)
    best = await _best(session, query, query.limit + 1)
    truncated = len(best) > query.limit
    return RunPage(best[: query.limit], truncated, runs.unreadable - before)


async def _best(session: Session, query: RunQuery, wanted: int) -> list[WorkflowRun]:
    runs = session.stores.runs
    async with runs.touched(f"{RUN_PREFIX}>") as touched:
        found = await _walked(session, query, wanted)
        # A run that is written again while we read leaves the place where we look for it.
        moved = await runs.get_many(await touched())
    for entry in moved.values():
        found.pop(entry.value.run_id, None)
        if query.accepts(entry.value):
            found[entry.value.run_id] = entry.value
    return sorted(found.values(), key=_age)[:wanted]


async def _walked(session: Session, query: RunQuery, wanted: int) -> dict[str, WorkflowRun]:
    found: dict[str, WorkflowRun] = {}
    best: list[int] = []  # The creation times of the best so far, the oldest first.
    ahead = 0
    async for entry in session.stores.runs.newest():
        created = created_ns(entry.value)
        ahead = max(ahead, created - entry.timestamp_ns)
        latest = entry.timestamp_ns + ahead + CLOCK_SLACK
        if query.after is not None and latest < query.after:
            break
        if len(best) == wanted and best[0] > latest:
            break
        if query.accepts(entry.value):
            found[entry.value.run_id] = entry.value
            heapq.heappush(best, created)
            if len(best) > wanted:
                heapq.heappop(best)
    return found


def _age(run: WorkflowRun) -> tuple[int, str]:
    return -created_ns(run), run.run_id


async def scan_runs(session: Session, query: RunQuery) -> AsyncIterator[WorkflowRun]:
    """Every wanted run, whatever their number, in no particular order. Ignores ``limit``."""
    everything = query == RunQuery(limit=query.limit)
    async for entry in session.stores.runs.scan(f"{RUN_PREFIX}>"):
        if everything or query.accepts(entry.value):
            yield entry.value


async def count_runs(session: Session, query: RunQuery) -> int:
    """How many runs are wanted, exactly.

    Raises:
        UsageError: no run can have the status asked for.
    """
    check_status(query.status)
    if query == RunQuery(limit=query.limit):
        return await session.stores.runs.count()
    total = 0
    async for _ in scan_runs(session, query):
        total += 1
    return total


async def recent_ids(session: Session, count: int) -> list[str]:
    """The ids of the newest runs, for completion on the command line."""
    return [run.run_id for run in (await list_runs(session, RunQuery(limit=count))).runs]


def parse_bound(text: str, option: str) -> int | None:
    """Nanoseconds of an RFC 3339 time given for ``option``; ``None`` for no text.

    Raises:
        InvalidError: the text is no such time.
    """
    from dagnats.model.times import parse_time

    if not text:
        return None
    try:
        return parse_time(text) or 0
    except ValueError as error:
        raise InvalidError(f"{option}: {error}", "write it as 2026-01-15T09:00:00Z") from None
