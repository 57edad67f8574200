"""What must hold, whatever goes wrong: I1 to I10 of the fault campaign, watched and judged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dagnats.engine.fold import fold
from dagnats.engine.plan import Plan
from dagnats.engine.run import Run
from dagnats.engine.steps.wait import TIMED_OUT
from dagnats.engine.waits import fits, resolve
from dagnats.model.codec import decode
from dagnats.model.event import Event, EventType
from dagnats.model.records import EventWaiter
from dagnats.model.run import DONE_STEP, RunStatus, StepState, WorkflowRun, is_terminal
from dagnats.model.task import TaskPayload
from dagnats.model.times import read_time
from dagnats.model.workflow import StepDef, WaitForEventConfig, WorkflowDef

from .flows import LIMITED
from .server import Stored, Stream

if TYPE_CHECKING:
    from .world import World

WINDOW_NS = 110_000_000_000
"""Within this time a repeated message must be known as such (the window is two minutes)."""

FAILED = (RunStatus.FAILED, RunStatus.COMPENSATE_FAILED, RunStatus.COMPENSATED)
ENDS = (EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED)


class _Gate(msgspec.Struct):
    limit: int = 0
    holders: dict[str, None] = {}
    pending: list[Any] = []
    waiting: list[Any] = []


class _Record(msgspec.Struct):
    name: str
    value: msgspec.Raw


class Judge:
    """Watches everything that is stored, and judges the end.

    Attributes:
        failures: each broken invariant, as ``I6: what happened``.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.failures: list[str] = []
        self.features: Counter[str] = Counter()
        self._last: dict[str, WorkflowRun] = {}
        self._tasks: dict[tuple[Any, ...], int] = {}
        world.server.watchers.append(self._stored)

    def _broken(self, text: str) -> None:
        if len(self.failures) < 20:
            self.failures.append(text)

    # --- after every message ------------------------------------------------------------------

    def _stored(self, stream: Stream, stored: Stored) -> None:
        match stream.name:
            case "KV_workflow_runs":
                self._snapshot(stored)
            case "KV_engine_state":
                self._gate(stored)
            case "TASK_QUEUES" | "STICKY_TASKS":
                self._task(stream, stored)
            case "DEAD_LETTERS" if stored.subject.startswith("dead.orchestrator"):
                self._broken(f"an event was set aside: {stored.headers} {stored.data[:300]!r}")
            case _:
                return

    def _snapshot(self, stored: Stored) -> None:
        if not stored.data:
            self._broken(f"a snapshot was deleted: {stored.subject}")
            return
        run = decode(stored.data, WorkflowRun)
        before = self._last.get(run.run_id)
        self._last[run.run_id] = run
        if run.applied_seq > self.world.server.streams["WORKFLOW_HISTORY"].last:
            self._broken(f"I8: {run.run_id} is ahead of the log")
        if before is None:
            return
        if run.applied_seq < before.applied_seq:
            text = f"{run.run_id} went back from {before.applied_seq} to {run.applied_seq}"
            self._broken(f"I8: {text}")
        same = run.reopened == before.reopened
        if is_terminal(before.status) and same and run.status != before.status:
            self._broken(f"I6: {run.run_id} was {before.status} and is {run.status}")
        if same:
            self._steps(before, run)

    def _steps(self, before: WorkflowRun, run: WorkflowRun) -> None:
        aux = {"h", "u"}
        for step_id, was in before.steps.items():
            now = run.steps.get(step_id)
            if now is None:
                self._broken(f"I2: step {step_id} of {run.run_id} has vanished")
            elif step_id[:1] in aux:
                continue  # Handlers and compensators may run again for another step.
            elif was.status in DONE_STEP and now.status != was.status:
                text = f"step {step_id} of {run.run_id} was {was.status} and is {now.status}"
                self._broken(f"I2: {text}")
            elif was.status == "completed" and now.output != was.output:
                self._broken(f"I2: the output of {step_id} of {run.run_id} has changed")

    def _gate(self, stored: Stored) -> None:
        kind = stored.subject.removeprefix("$KV.engine_state.").partition(".")[0]
        if kind not in ("runs", "tasks") or not stored.data:
            return
        record = decode(stored.data, _Record)
        gate = decode(bytes(record.value), _Gate)
        limit = gate.limit if kind == "runs" else LIMITED.get(record.name, 0)
        if gate.pending or gate.waiting:
            self.features[f"{kind} waited for a slot"] += 1
        if limit and len(gate.holders) > limit:
            self._broken(f"FLOW: {len(gate.holders)} {kind} of {record.name} with limit {limit}")

    def _task(self, stream: Stream, stored: Stored) -> None:
        task = decode(stored.data, TaskPayload)
        key = (stream.name, task.run_id, task.step_id, task.attempt, task.iteration, stored.subject)
        if ".map." in task.step_id:
            key = (*key, task.dispatch_nonce)
        before = self._tasks.get(key)
        self._tasks[key] = stored.ts
        if before is not None and stored.ts - before < WINDOW_NS:
            self._broken(f"I2: task {key} was queued twice")

    # --- at the end ---------------------------------------------------------------------------

    def verdict(self) -> None:
        """Judge the world as it is now."""
        world = self.world
        for process in world.processes:
            if problem := process.watch():
                self._broken(f"an engine gave up: {problem}")
        histories = self._histories()
        for run_id in sorted(world.run_ids()):
            run = world.snapshot(run_id)
            if run is None:
                self._broken(f"I1: {run_id} was never begun")
            elif not is_terminal(run.status):
                self._broken(f"I1: {run_id} is {run.status}: {self._why(run)}")
            else:
                self._judge(run, histories.get(run_id, []))
        self._leaks()
        self._count(histories)

    @staticmethod
    def _why(run: WorkflowRun) -> str:
        active = {
            step_id: f"{state.status} {state.dispatch} {state.wake_at}".strip()
            for step_id, state in run.steps.items()
            if state.status not in ("completed", "skipped")
        }
        return f"{active} saga {run.saga_step!r}"

    def _histories(self) -> dict[str, list[tuple[Stored, Event]]]:
        found: dict[str, list[tuple[Stored, Event]]] = {}
        for stored in self.world.server.streams["WORKFLOW_HISTORY"].messages.values():
            run_id = stored.subject.partition(".")[2]
            found.setdefault(run_id, []).append((stored, decode(stored.data, Event)))
        return found

    def _judge(self, run: WorkflowRun, history: list[tuple[Stored, Event]]) -> None:
        self._ended_once(run, history)
        self._dead_letters(run)
        definition = self._definition(run)
        if definition is None or "<admission-skip>" in run.steps:
            return
        self._refold(run, definition, history)
        for step in (*definition.steps, *run.dynamic_steps):
            state = run.steps.get(step.id)
            if state is not None:
                self._order(run, step, state)
                self._attempts(run, step, state, definition)
                self._result(run, step, state)
                if step.type == "wait_for_event" and state.output == TIMED_OUT:
                    self._waited_in_vain(run, definition, step, state)

    def _waited_in_vain(
        self, run: WorkflowRun, definition: WorkflowDef, step: StepDef, state: StepState
    ) -> None:
        """A wait that timed out has seen no event that fits, from its begin to its end."""
        config = decode(bytes(step.config), WaitForEventConfig)
        match = resolve(Run(run, Plan(definition, run.dynamic_steps)), config.match)
        waiter = EventWaiter(run_id=run.run_id, step_id=step.id, match=match)
        begin = read_time(state.started_at) or 0
        for stored in self.world.server.streams["EVENTS"].messages.values():
            mine = stored.subject == f"event.{config.event}"
            in_time = begin <= stored.ts < begin + config.timeout
            self.features["event while a wait was open"] += mine and in_time
            if mine and in_time and fits(waiter, msgspec.json.decode(stored.data), stored.ts):
                at = (stored.ts - begin) / 1e9
                self._broken(f"WAIT: {step.id} of {run.run_id} missed an event after {at} s")

    def _definition(self, run: WorkflowRun) -> WorkflowDef | None:
        """What the run is pinned to; a run that could not begin is pinned to nothing."""
        if not run.revision:
            return None
        revisions = self.world.server.streams["KV_workflow_revisions"]
        subject = f"$KV.workflow_revisions.{run.workflow_id}.{run.revision}"
        stored = revisions.last_of(subject)
        if stored is None:
            self._broken(f"I3: the definition of {run.run_id} is not kept")
            return None
        return decode(stored.data, WorkflowDef)

    def _ended_once(self, run: WorkflowRun, history: list[tuple[Stored, Event]]) -> None:
        ends = [event.type for _, event in history if event.type in ENDS]
        if len(ends) > 1 + run.reopened:
            self._broken(f"I6: {run.run_id} ended {len(ends)} times: {ends}")
        wanted = {
            RunStatus.COMPLETED: EventType.WORKFLOW_COMPLETED,
            RunStatus.CANCELLED: EventType.WORKFLOW_CANCELLED,
        }.get(RunStatus(run.status), EventType.WORKFLOW_FAILED)
        if all(event.type != wanted for _, event in history):
            self._broken(f"I6: {run.run_id} is {run.status} without a {wanted}")

    def _dead_letters(self, run: WorkflowRun) -> None:
        letters = [
            stored
            for stored in self.world.server.streams["DEAD_LETTERS"].messages.values()
            if stored.headers.get("Dagnats-Dlq-Run-Id") == run.run_id
        ]
        if run.status in FAILED and not letters:
            self._broken(f"I7: {run.run_id} is {run.status} without a dead letter")
        # A saga leaves its letter when it begins, and may be cancelled or reopened afterwards.
        innocent = run.status in (RunStatus.COMPLETED, RunStatus.CANCELLED)
        if innocent and letters and not run.reopened and not run.saga_step:
            self._broken(f"I7: {run.run_id} is {run.status} with a dead letter")

    def _order(self, run: WorkflowRun, step: StepDef, state: StepState) -> None:
        queued = read_time(state.queued_at)
        if queued is None:
            return
        for parent in step.depends_on:
            before = run.steps[parent]
            ended = read_time(before.finished_at)
            if before.status in DONE_STEP and ended is not None and ended > queued:
                if before.status != "recovered":
                    self._broken(f"I4: {step.id} of {run.run_id} began before {parent} ended")
            elif before.status not in DONE_STEP and not run.reopened:
                self._broken(f"I4: {step.id} of {run.run_id} began, {parent} is {before.status}")

    def _attempts(
        self, run: WorkflowRun, step: StepDef, state: StepState, definition: WorkflowDef
    ) -> None:
        policy = step.retry or definition.default_retry
        most = (policy.max_attempts if policy else 0) + 1
        if state.attempts > most:
            self._broken(f"I5: {step.id} of {run.run_id} has {state.attempts} of {most} attempts")

    def _result(self, run: WorkflowRun, step: StepDef, state: StepState) -> None:
        """Only the dispatch in flight may have given the result."""
        if state.status != "completed" or step.type not in ("normal", "agent"):
            return
        try:
            output = msgspec.json.decode(state.output or b"null")
        except msgspec.MsgspecError:
            self._broken(f"I2: the output of {step.id} of {run.run_id} is no JSON")
            return
        by = output.get("attempt") if isinstance(output, dict) else None
        if by is not None and state.dispatch > 1 and by != state.dispatch:
            text = f"{step.id} of {run.run_id} took the result of {by}, not {state.dispatch}"
            self._broken(f"WP-40: {text}")

    def _refold(
        self, run: WorkflowRun, definition: WorkflowDef, history: list[tuple[Stored, Event]]
    ) -> None:
        """I3: the log, applied anew, gives the snapshot."""
        log = [_Recorded(stored.seq, stored.ts, event) for stored, event in history]
        folded = fold(definition, log, run.applied_seq)
        mine, theirs = _shown(folded), _shown(run)
        if mine != theirs:
            different = {key: (mine.get(key), theirs.get(key)) for key in mine | theirs}
            different = {key: both for key, both in different.items() if both[0] != both[1]}
            self._broken(f"I3: {run.run_id}: the log gives, and stored is: {different}")

    def _leaks(self) -> None:
        """I9: nothing that ended holds or waits for anything."""
        streams = self.world.server.streams
        for stored in streams["KV_engine_state"].messages.values():
            kind = stored.subject.removeprefix("$KV.engine_state.").partition(".")[0]
            if kind in ("runs", "tasks", "locks", "held") and stored.data:
                self._broken(f"I9: a slot or lock is left: {stored.data[:200]!r}")
        for name in ("event_waiters", "approval_tokens", "sticky_bindings"):
            left = [
                stored.subject
                for stored in streams[f"KV_{name}"].messages.values()
                if stored.data and ".fenced." not in stored.subject
            ]
            if left:
                self._broken(f"I9: {name} are left: {left[:3]}")

    # --- I10 ----------------------------------------------------------------------------------

    def _count(self, histories: dict[str, list[tuple[Stored, Event]]]) -> None:
        features, world = self.features, self.world
        features.update(world.counts)
        for process in world.processes:
            features["engine killed"] += process.deaths
            features["engine started over"] += process.engine.restarts if process.engine else 0
        features["task redelivered"] += world.workers.redelivered
        features["late result"] += world.workers.late
        features["several engines"] += len(world.processes) > 1
        for history in histories.values():
            for _, event in history:
                features[f"event {event.type}"] += 1
        for run_id in world.run_ids():
            run = world.snapshot(run_id)
            if run is None:
                continue
            features[f"run {run.status}"] += 1
            features["sticky"] += bool(run.sticky_worker)
            features["child run"] += bool(run.parent_run_id)
            features["singleton skip"] += "<admission-skip>" in run.steps
            features["workflow timeout"] += run.error.startswith("workflow timeout")
            for step_id, state in run.steps.items():
                kind = world.steps.get(run.workflow_id, {}).get(step_id, {}).get("type", "other")
                features[f"{kind} {state.status}"] += 1
                features["step retried"] += state.attempts > 1
                features["step timed out"] += "timeout exceeded" in state.error


def _shown(run: WorkflowRun) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": run.status, "error": run.error, "step": run.failed_step}
    for step_id, state in run.steps.items():
        shown[step_id] = (state.status, state.output, state.attempts, state.iterations, state.error)
    return shown


class _Recorded(NamedTuple):
    seq: int
    timestamp_ns: int
    event: Event
