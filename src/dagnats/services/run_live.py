"""All runs, newest first, and then every change: what a list that is kept open reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from dagnats.model.run import WorkflowRun
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.session import Session
from dagnats.wire.changes import follow_bucket, mark
from dagnats.wire.kv import Entry

PAGE = 500
"""Runs handed on at once while reading back."""


class RunChange(Struct, frozen=True):
    """A run whose snapshot was written; ``run`` is ``None`` when it was removed."""

    run_id: str
    run: WorkflowRun | None


class RunChanges(Struct, frozen=True):
    """What was written since the last look, and how far that reaches."""

    changes: list[RunChange]
    seq: int


async def run_mark(session: Session) -> int:
    """How far the bucket of runs reaches now: read back from here, and follow from here."""
    return await mark(session.bus, session.stores.runs)


async def runs_back(session: Session) -> AsyncIterator[list[WorkflowRun]]:
    """Every run there is, the last written first, in pages. Stop reading whenever it is enough."""
    page: list[WorkflowRun] = []
    async for entry in session.stores.runs.newest():
        if entry.key.startswith(RUN_PREFIX):
            page.append(entry.value)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


async def run_changes(
    session: Session, after_seq: int, pace_s: float = 0.1
) -> AsyncIterator[RunChanges]:
    """Every change behind a sequence, for ever; nothing is missed, bursts come in few batches.

    Args:
        session: the connection.
        after_seq: from :func:`run_mark`, or of the last batch.
        pace_s: seconds between two looks at least.
    """
    bucket = session.stores.runs
    changes = follow_bucket(session.bus, bucket, after_seq, f"{RUN_PREFIX}>", pace_s)
    try:
        async for batch in changes:
            found = [
                RunChange(
                    entry.key.removeprefix(RUN_PREFIX),
                    entry.value if isinstance(entry, Entry) else None,
                )
                for entry in batch.entries
            ]
            yield RunChanges(found, batch.seq)
    finally:
        await changes.aclose()


async def runs_of(session: Session, ids: Sequence[str]) -> list[WorkflowRun]:
    """The runs of these ids that are there."""
    found = await session.stores.runs.get_many(f"{RUN_PREFIX}{run_id}" for run_id in ids)
    return [entry.value for entry in found.values()]


async def definition_changes(session: Session, pace_s: float = 1.0) -> AsyncIterator[list[str]]:
    """The names of workflows that were registered or deleted, from now on, in batches."""
    bucket = session.stores.definitions
    after = await mark(session.bus, bucket)
    changes = follow_bucket(session.bus, bucket, after, pace_s=pace_s)
    try:
        async for batch in changes:
            yield [entry.key for entry in batch.entries]
    finally:
        await changes.aclose()
