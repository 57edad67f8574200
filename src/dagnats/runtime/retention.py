"""What is kept of runs that have ended, and for how long (``engine.md`` CONF-3).

A run that ended longer ago than the configured age is removed with its history, its checkpoints,
signals and idempotency entries. Dead letters have an age of their own.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from msgspec import Struct

from dagnats.errors import ConflictError, NotFoundError
from dagnats.model.run import WorkflowRun, is_terminal
from dagnats.model.times import HOUR, read_time
from dagnats.wire import subjects
from dagnats.wire.kv import Entry
from dagnats.wire.readers import HISTORY
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.engine")

EPHEMERAL = "agent."
"""What the names of definitions begin with that a run registered for itself."""

SPAWNED = "spawned"
"""Keys ``spawned.{root}.{run}`` of ``engine_state``: runs started through the control plane."""

GRACE = HOUR
"""How long such a definition stays after its run has ended."""

_OF_RUN = (
    ("KV_checkpoints", "$KV.checkpoints.{}.>"),
    ("KV_signals", "$KV.signals.{}.>"),
    ("KV_approval_tokens", "$KV.approval_tokens.{}.>"),
    ("KV_sticky_bindings", "$KV.sticky_bindings.{}"),
    ("KV_http_idempotency", "$KV.http_idempotency.result.{}"),
)


class View(Struct, frozen=True):
    """What the engine knows.

    Args:
        live: whether it has a run in its hands, or may soon.
        reached: the sequence in the history up to which it has applied everything.
    """

    live: Callable[[str], bool]
    reached: Callable[[], int]


class Retention:
    """Removes what is old.

    Args:
        stores: the connection.
        view: what the engine knows.
    """

    def __init__(self, stores: Stores, view: View) -> None:
        self._stores = stores
        self._live = view.live
        self._reached = view.reached

    async def prune(self, max_age: int) -> int:
        """Remove the runs that ended longer ago than ``max_age`` (ns); how many that were."""
        cutoff = time.time_ns() - max_age
        removed: set[str] = set()
        async for entry in self._stores.runs.scan("run.>"):
            if entry.timestamp_ns > cutoff:
                break  # In order of their last write: all others ended later, if at all.
            if await self._prune(entry, cutoff):
                removed.add(entry.value.run_id)
        if removed:
            await self._forget_keys(removed)
            log.info("%d runs that ended long ago were removed", len(removed))
        return len(removed)

    async def _prune(self, entry: Entry[WorkflowRun], cutoff: int) -> bool:
        run = entry.value
        reached = self._reached()
        if not _ended_before(run, cutoff) or self._live(run.run_id):
            return False
        if await self._root_lives(run) or await self._is_addressed(run, reached):
            return False
        # Bounded by what was read: a run that is being reopened keeps what is newer.
        if not await self._purge("KV_workflow_runs", f"$KV.workflow_runs.{entry.key}", entry):
            return False
        history = subjects.history(run.run_id)
        body = {"filter": history, "seq": reached + 1}
        await self._stores.bus.api(f"STREAM.PURGE.{HISTORY}", body)
        for stream, pattern in _OF_RUN:
            body = {"filter": pattern.format(run.run_id)}
            await self._stores.bus.api(f"STREAM.PURGE.{stream}", body)
        return True

    async def _purge(self, stream: str, subject: str, entry: Entry[WorkflowRun]) -> bool:
        body = {"filter": subject, "seq": entry.revision + 1}
        return bool((await self._stores.bus.api(f"STREAM.PURGE.{stream}", body)).get("purged"))

    async def _root_lives(self, run: WorkflowRun) -> bool:
        """A tree of runs is kept as long as its root is at work."""
        if run.root_run_id in ("", run.run_id):
            return False
        root, _ = await self._stores.runs.latest(f"run.{run.root_run_id}")
        return root is not None and not is_terminal(root.status)

    async def _is_addressed(self, run: WorkflowRun, reached: int) -> bool:
        """Whether there is an event for it that the engine has not applied: a replay, perhaps."""
        body = {"last_by_subj": subjects.history(run.run_id)}
        try:
            found = await self._stores.bus.api(f"STREAM.MSG.GET.{HISTORY}", body)
        except NotFoundError:
            return False
        return int(found["message"]["seq"]) > reached

    async def _forget_keys(self, removed: set[str]) -> None:
        bucket = self._stores.idempotency
        stale = [entry async for entry in bucket.scan() if entry.value in removed]
        for entry in stale:
            with contextlib.suppress(ConflictError):  # Taken by another run meanwhile.
                await bucket.delete(entry.key, entry.revision)

    async def reap(self) -> int:
        """Remove definitions that runs registered for themselves and need no more; how many."""
        count = 0
        cutoff = time.time_ns() - GRACE
        definitions = self._stores.definitions
        found = [entry async for entry in definitions.scan(f"{EPHEMERAL}>")]
        for entry in found:
            root = entry.key.split(".")[1]
            run, _ = await self._stores.runs.latest(f"run.{root}")
            if self._live(root) or (run is not None and not _ended_before(run, cutoff)):
                continue
            if entry.timestamp_ns > cutoff and run is None:
                continue  # So young that its run may not be stored yet.
            try:
                await definitions.delete(entry.key, entry.revision)
            except ConflictError:
                continue  # Registered anew meanwhile.
            count += 1
        return count

    async def settle(self) -> None:
        """Forget which runs were started by handlers once they have ended (``runtime_quota``)."""
        state = self._stores.engine_state
        keys = {key.rpartition(".")[2]: key for key in await state.keys(f"{SPAWNED}.>")}
        found = await self._stores.runs.get_many(f"run.{run_id}" for run_id in keys)
        for entry in found.values():
            if is_terminal(entry.value.status):
                await state.delete(keys[entry.value.run_id])


def _ended_before(run: WorkflowRun, cutoff: int) -> bool:
    ended = read_time(run.completed_at)
    return is_terminal(run.status) and ended is not None and ended < cutoff
