"""Flow control across runs: run slots, task slots, rate limits, singleton locks, pauses.

Slots are sets of holders, so taking or freeing one twice is harmless and a counter cannot drift.
"""

from __future__ import annotations

from bisect import insort

from msgspec import Struct

from dagnats.model.records import TokenBucket
from dagnats.model.workflow import KeyedRateLimit, RateLimit

EVERYTHING = ""
"""The pause key that holds every workflow."""


class RunGate(Struct):
    """Who runs, and who waits, of a workflow with ``max_runs``."""

    limit: int
    holders: dict[str, None] = {}
    pending: list[tuple[int, str]] = []
    """(effective start in ns, run id), smallest first."""


class SlotWait(Struct, frozen=True):
    """A dispatch that waits for a task slot, or for the end of a pause."""

    run_id: str
    step_id: str
    dispatch: int
    limit: int = 0

    @property
    def holder(self) -> str:
        """The name under which the slot is held."""
        return f"{self.run_id}.{self.step_id}"


class TaskGate(Struct):
    """Who holds, and who waits for, the slots of one task type."""

    holders: dict[str, None] = {}
    waiting: list[SlotWait] = []


class Flow:
    """The state of all limits. The runtime loads it at start and writes what is dirty.

    Attributes:
        left: by workflow, the runs that have given back what they held, and the sequence of the
            event by which they did. These records are written before the snapshots: after a crash
            between the two, runs are applied again that are let in no more, but must be.
        waited: likewise, the runs that had to wait, and the event at which they had to.
        dirty: (kind, name) of every record changed since the last flush; kinds are the names of
            the dictionaries here.
        acquired, rejected: slots of task types taken so far, and tasks that had to wait for one.
    """

    def __init__(self) -> None:
        self.runs: dict[str, RunGate] = {}
        self.tasks: dict[str, TaskGate] = {}
        self.buckets: dict[str, TokenBucket] = {}
        self.locks: dict[str, str] = {}
        self.held: dict[str, list[SlotWait]] = {}
        self.left: dict[str, dict[str, int]] = {}
        self.waited: dict[str, dict[str, int]] = {}
        self.paused: set[str] = set()
        self.dirty: set[tuple[str, str]] = set()
        self.acquired = 0
        self.rejected = 0

    # --- run slots -----------------------------------------------------------------------------

    def admit(self, workflow: str, limit: int, run_id: str, effective: int) -> bool:
        """Take a run slot, or join the queue ordered by ``effective`` start time (ns)."""
        gate = self.runs.get(workflow)
        if gate is None:
            if limit <= 0:
                return True
            gate = self.runs[workflow] = RunGate(limit)
        gate.limit = limit
        self.dirty.add(("runs", workflow))
        if run_id in gate.holders:
            return True
        if limit <= 0 or (not gate.pending and len(gate.holders) < limit):
            gate.holders[run_id] = None
            return True
        if all(waiting != run_id for _, waiting in gate.pending):
            insort(gate.pending, (effective, run_id))
        return False

    def release_run(self, workflow: str, run_id: str) -> list[str]:
        """Give a run's slot, or its place in the queue, back; the runs that got a slot by it."""
        gate = self.runs.get(workflow)
        if gate is None:
            return []
        gate.holders.pop(run_id, None)
        gate.pending = [entry for entry in gate.pending if entry[1] != run_id]
        promoted: list[str] = []
        while gate.pending and (gate.limit <= 0 or len(gate.holders) < gate.limit):
            _, chosen = gate.pending.pop(0)
            gate.holders[chosen] = None
            promoted.append(chosen)
        self.dirty.add(("runs", workflow))
        if not gate.holders and not gate.pending:
            del self.runs[workflow]
        return promoted

    # --- what was decided before a crash -------------------------------------------------------

    def leave(self, workflow: str, run_id: str, seq: int) -> None:
        """Remember that a run has given back what it held by the event ``seq``."""
        self.left.setdefault(workflow, {})[run_id] = seq
        self.dirty.add(("left", workflow))

    def refuse(self, workflow: str, run_id: str, seq: int) -> None:
        """Remember that a run was not let in at the event ``seq``: kept as a negative number."""
        self.leave(workflow, run_id, -seq)

    def was_in(self, workflow: str, run_id: str, seq: int) -> bool:
        """Whether a run held at ``seq`` what it has given back since: it is applied again."""
        return self.left.get(workflow, {}).get(run_id, 0) >= seq

    def was_refused(self, workflow: str, run_id: str, seq: int) -> bool:
        """Whether a run was refused by this very event."""
        return self.left.get(workflow, {}).get(run_id, 0) == -seq

    def wait(self, workflow: str, run_id: str, seq: int) -> None:
        """Remember that a run had to wait at the event ``seq``."""
        self.waited.setdefault(workflow, {})[run_id] = seq
        self.dirty.add(("waited", workflow))

    def had_to_wait(self, workflow: str, run_id: str, seq: int) -> bool:
        """Whether a run had to wait at this very event: it has to again, and is admitted later."""
        return self.waited.get(workflow, {}).get(run_id) == seq

    def forget_left(self, seq: int) -> None:
        """Nothing up to ``seq`` will be applied again."""
        for kind, records in (("left", self.left), ("waited", self.waited)):
            for workflow, runs in list(records.items()):
                kept = {run_id: at for run_id, at in runs.items() if abs(at) > seq}
                if len(kept) < len(runs):
                    records[workflow] = kept
                    self.dirty.add((kind, workflow))
                if not kept:
                    del records[workflow]

    # --- task slots ----------------------------------------------------------------------------

    def acquire(self, task: str, wanted: SlotWait) -> bool:
        """Take a slot of a task type, or join its queue."""
        gate = self.tasks.setdefault(task, TaskGate())
        self.dirty.add(("tasks", task))
        if wanted.holder in gate.holders:
            return True
        if not gate.waiting and len(gate.holders) < wanted.limit:
            gate.holders[wanted.holder] = None
            self.acquired += 1
            return True
        if all(entry.holder != wanted.holder for entry in gate.waiting):
            gate.waiting.append(wanted)
            self.rejected += 1
        return False

    def release(self, task: str, run_id: str, step_id: str) -> list[SlotWait]:
        """Give a slot, or a place in the queue, back; the dispatches that got a slot by it."""
        gate = self.tasks.get(task)
        if gate is None:
            return []
        holder = f"{run_id}.{step_id}"
        gate.holders.pop(holder, None)
        gate.waiting = [entry for entry in gate.waiting if entry.holder != holder]
        granted: list[SlotWait] = []
        while gate.waiting and len(gate.holders) < gate.waiting[0].limit:
            entry = gate.waiting.pop(0)
            gate.holders[entry.holder] = None
            self.acquired += 1
            granted.append(entry)
        self.dirty.add(("tasks", task))
        if not gate.holders and not gate.waiting:
            del self.tasks[task]
        return granted

    # --- rate limits ---------------------------------------------------------------------------

    def reserve(self, key: str, limit: RateLimit | KeyedRateLimit, units: int, now: int) -> int:
        """Take tokens from a bucket, in advance if need be; when the task may start (ns).

        Starts in any window w number at most ``limit + w * rate``: the bucket is kept as the
        instant at which it is full again, and every token moves that instant by one interval.
        """
        interval = limit.period / limit.limit
        bucket = self.buckets.get(key)
        full_at = now
        if bucket is not None:
            missing = bucket.limit - bucket.tokens
            full_at = bucket.last_refill_ns + int(missing * bucket.period_ns / bucket.limit)
        full_at = max(full_at, now) + int(units * interval)
        self.buckets[key] = TokenBucket(
            tokens=limit.limit, last_refill_ns=full_at, limit=limit.limit, period_ns=limit.period
        )
        self.dirty.add(("buckets", key))
        return max(now, full_at - limit.period)

    # --- singleton locks -----------------------------------------------------------------------

    def lock(self, key: str, run_id: str) -> str:
        """Take a singleton lock if it is free; who holds it now."""
        holder = self.locks.setdefault(key, run_id)
        if holder == run_id:
            self.dirty.add(("locks", key))
        return holder

    def take_over(self, key: str, run_id: str) -> None:
        """Make ``run_id`` the holder of a lock, whoever held it."""
        self.locks[key] = run_id
        self.dirty.add(("locks", key))

    def unlock(self, key: str, run_id: str) -> None:
        """Free a lock if this run holds it."""
        if self.locks.get(key) == run_id:
            del self.locks[key]
            self.dirty.add(("locks", key))

    # --- pauses --------------------------------------------------------------------------------

    def is_paused(self, workflow: str) -> bool:
        """Whether dispatch of this workflow is held."""
        return EVERYTHING in self.paused or workflow in self.paused

    def hold(self, workflow: str, wanted: SlotWait) -> None:
        """Remember a dispatch until the pause ends."""
        # A step that was retried meanwhile waits with its newest dispatch.
        others = [e for e in self.held.get(workflow, ()) if e.holder != wanted.holder]
        self.held[workflow] = [*others, wanted]
        self.dirty.add(("held", workflow))

    def drop_held(self, workflow: str, run_id: str) -> None:
        """Forget what a run that ended had waiting behind a pause."""
        entries = self.held.get(workflow)
        if entries is None:
            return
        self.held[workflow] = [entry for entry in entries if entry.run_id != run_id]
        self._forget_empty(workflow)

    def resumed(self) -> list[SlotWait]:
        """Take out everything that no pause holds any longer."""
        free: list[SlotWait] = []
        for workflow in [name for name in self.held if not self.is_paused(name)]:
            free += self.held[workflow]
            self.held[workflow] = []
            self._forget_empty(workflow)
        return free

    def _forget_empty(self, workflow: str) -> None:
        self.dirty.add(("held", workflow))
        if not self.held[workflow]:
            del self.held[workflow]
