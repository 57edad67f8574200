"""Snapshots of runs, each written against the revision it replaces.

Whoever wrote a run last decides: an engine that was deposed, or that read before another wrote, is
refused and starts over from what is stored.
"""

from __future__ import annotations

from collections.abc import Collection

from dagnats.engine.run import Run
from dagnats.model.run import WorkflowRun
from dagnats.runtime.messages import event_message
from dagnats.runtime.oversize import HEADER_ROOM, overflow, without_outputs
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores


class Snapshots:
    """The snapshots that one session of an engine reads and writes.

    Args:
        stores: the connection.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._revisions: dict[str, int] = {}
        self._pinned: set[str] = set()

    async def load(self, run_ids: Collection[str]) -> list[WorkflowRun]:
        """What is stored of these runs."""
        found = await self._stores.runs.latest_many([f"run.{run_id}" for run_id in run_ids])
        for key, (_, revision) in found.items():
            self._revisions[key.removeprefix("run.")] = revision
        return [snapshot for snapshot, _ in found.values() if snapshot is not None]

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
