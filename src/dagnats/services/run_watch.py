"""Following runs while they go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from dagnats.errors import UnreachableError
from dagnats.model.event import EventType
from dagnats.model.run import WorkflowRun, is_terminal
from dagnats.services.run_events import RunEvent, event_of
from dagnats.services.run_live import RunChange
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.session import Session
from dagnats.wire.kv import Entry
from dagnats.wire.readers import StoredEvent

LOOK_S = 1.0
"""How often a quiet run is looked at: one may have ended without an event."""

_ENDS = frozenset(
    {
        EventType.WORKFLOW_COMPLETED.value,
        EventType.WORKFLOW_FAILED.value,
        EventType.WORKFLOW_CANCELLED.value,
        EventType.COMPENSATE_COMPLETED.value,
        EventType.COMPENSATE_FAILED.value,
    }
)


async def follow_run(session: Session, run_id: str, after_seq: int = 0) -> AsyncIterator[RunEvent]:
    """Every event of a run as it is shown; see :func:`follow_history`."""
    followed = follow_history(session, run_id, after_seq)
    try:
        async for stored in followed:
            yield event_of(stored)
    finally:
        await followed.aclose()


async def follow_history(
    session: Session, run_id: str, after_seq: int = 0
) -> AsyncGenerator[StoredEvent]:
    """Every event of a run, past and to come, until the run has ended.

    A run that was reopened goes on after its first end, and so does this.

    Args:
        session: the connection.
        run_id: the full id; the run need not exist yet.
        after_seq: skip events up to this sequence.
    """
    queue: asyncio.Queue[StoredEvent] = asyncio.Queue()
    pump = asyncio.create_task(_pump(session, run_id, after_seq, queue))
    seen = after_seq
    try:
        while True:
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(LOOK_S):
                    stored = await queue.get()
            except TimeoutError:
                if pump.done():
                    pump.result()  # Raises what ended it: it never ends by itself.
                if await _ended(session, run_id, seen):
                    return
                continue
            seen = max(seen, stored.seq)
            yield stored
            if stored.event.type in _ENDS and queue.empty():
                await _settle(session, run_id, seen, queue)
                if queue.empty() and await _ended(session, run_id, seen):
                    return
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def _pump(
    session: Session, run_id: str, after_seq: int, queue: asyncio.Queue[StoredEvent]
) -> None:
    async for stored in session.stores.history.follow(run_id, after_seq):
        queue.put_nowait(stored)


async def _settle(
    session: Session, run_id: str, seen: int, queue: asyncio.Queue[StoredEvent]
) -> None:
    """After what looks like the end, wait until the snapshot says so, or more events come."""
    deadline = asyncio.get_running_loop().time() + LOOK_S
    while queue.empty() and not await _ended(session, run_id, seen):
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.02)


async def _ended(session: Session, run_id: str, seen: int) -> bool:
    """Whether the snapshot is terminal and says nothing of events that were not seen yet."""
    entry = await session.stores.runs.get(RUN_PREFIX + run_id)
    if entry is None or not is_terminal(entry.value.status):
        return False
    return entry.value.applied_seq <= seen or not await session.stores.history.read(run_id, seen)


async def wait_run(session: Session, run_id: str, timeout_s: float | None = None) -> WorkflowRun:
    """Wait until a run has ended; it need not exist yet.

    Args:
        session: the connection.
        run_id: the full id.
        timeout_s: seconds to wait at most; ``None``: for ever.

    Raises:
        UnreachableError: the run did not end in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _terminal(session, run_id)
    except TimeoutError:
        raise UnreachableError(
            f"run {run_id} did not end within {timeout_s:g} s",
            f"see what it waits for with 'dagnats run why {run_id}'",
        ) from None


async def _terminal(session: Session, run_id: str) -> WorkflowRun:
    key = RUN_PREFIX + run_id
    changes = session.stores.runs.watch(key, from_now=True)
    change = asyncio.ensure_future(anext(changes))
    try:
        while True:
            entry = await session.stores.runs.get(key)
            if entry is not None and is_terminal(entry.value.status):
                return entry.value
            # Looking now and then as well: a change may be missed while reconnecting.
            await asyncio.wait({change}, timeout=LOOK_S)
            if change.done():
                change = asyncio.ensure_future(anext(changes))
    finally:
        change.cancel()
        await asyncio.gather(change, return_exceptions=True)
        await changes.aclose()


async def watch_runs(session: Session) -> AsyncIterator[RunChange]:
    """Every run's snapshot, and then each as it is written or removed."""
    async for entry in session.stores.runs.watch(f"{RUN_PREFIX}>"):
        run = entry.value if isinstance(entry, Entry) else None
        yield RunChange(entry.key.removeprefix(RUN_PREFIX), run)
