"""Snapshots of runs, each written against the revision it replaces.

Whoever wrote a run last decides: an engine that was deposed, or that read before another wrote, is
refused and starts over from what is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from dagnats.engine.fold import fold
from dagnats.engine.run import Run
from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import StartPayload
from dagnats.model.run import WorkflowRun
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.messages import event_message
from dagnats.runtime.oversize import HEADER_ROOM, overflow, without_outputs
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.engine")


class Snapshots:
    """The snapshots that one session of an engine reads and writes.

    Args:
        stores: the connection.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._revisions: dict[str, int] = {}
        self._pinned: set[str] = set()

    async def load(self, wanted: Mapping[str, int], secret: bytes) -> list[WorkflowRun]:
        """What is stored of runs; what nobody can read is made anew from the history.

        Args:
            wanted: run ids, each with the sequence of the first event that is to be applied.
            secret: see :class:`dagnats.engine.fold.Fold`.
        """
        before = self._stores.runs.unreadable
        found = await self._stores.runs.latest_many([f"run.{run_id}" for run_id in wanted])
        snapshots: list[WorkflowRun] = []
        for key, (stored, revision) in found.items():
            run_id, snapshot = key.removeprefix("run."), stored
            self._revisions[run_id] = revision
            if snapshot is None and self._stores.runs.unreadable != before:
                snapshot = await self._rebuilt(run_id, wanted[run_id], secret)
            if snapshot is not None:
                snapshots.append(snapshot)
        return snapshots

    async def _rebuilt(self, run_id: str, until: int, secret: bytes) -> WorkflowRun | None:
        try:
            await self._stores.runs.get(f"run.{run_id}")
        except InvalidError as error:
            log.error("snapshot of run %s: %s; it is made anew from its history", run_id, error)
        else:
            return None  # Deleted: so it shall be.
        events = await self._stores.history.read(run_id)
        applied = [stored.seq for stored in events if stored.seq < until]
        if not applied:
            return None
        try:
            start = decode(bytes(events[0].event.payload), StartPayload)
            definition = decode(bytes(start.workflow_def), WorkflowDef)
            snapshot = fold(definition, events, applied[-1], secret)
        except InvalidError as error:
            log.error("run %s is lost: %s", run_id, error)
            return None
        snapshot.applied_seq = applied[-1]
        return snapshot

    def pin(self, run: Run) -> list[Outgoing]:
        """The message that keeps the definition a run is pinned to, once per definition."""
        revision = run.snapshot.revision
        if not revision or revision in self._pinned:
            return []
        self._pinned.add(revision)
        key = f"{run.snapshot.workflow_id}.{revision}"
        return [self._stores.revisions.message(key, run.plan.definition)]

    def write(self, run: Run) -> tuple[list[Outgoing], Outgoing]:
        """What has to be stored before the snapshot, and the snapshot.

        At most one write of a run may be under way at a time.
        """
        key, snapshot = f"run.{run.id}", run.snapshot
        expected = self._revisions.get(run.id, 0)
        message = self._stores.runs.revised(key, snapshot, expected)
        size, limit = len(message.data), self._stores.bus.max_payload
        if size <= limit - HEADER_ROOM:
            return self.pin(run), message
        kept = self._stores.runs.revised(key, without_outputs(snapshot), expected)
        if run.terminal:
            return self.pin(run), kept
        # Before the snapshot: a run that has lost its outputs must not go on.
        event = overflow(snapshot, size, limit)
        return [*self.pin(run), event_message(event, f"{run.id}.{event.type}")], kept

    def stored(self, run_id: str, revision: int) -> None:
        """A write has arrived."""
        self._revisions[run_id] = revision

    def forget(self, run_id: str) -> None:
        """The run is no longer in memory."""
        self._revisions.pop(run_id, None)
