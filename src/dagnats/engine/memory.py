"""A world in memory round the machine: a log, a clock that jumps, timers, waiters, tasks.

Everything the machine asks for happens at once and nothing gets lost. Offline simulation and
``dagnats.testing`` run on it, so they show what production would do.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from msgspec import Raw, Struct

from dagnats.engine import effects as fx
from dagnats.engine.flow import Flow
from dagnats.engine.machine import Machine
from dagnats.engine.run import Run
from dagnats.engine.turn import Env
from dagnats.engine.waits import fits, match_event
from dagnats.errors import InvalidError
from dagnats.model.codec import ABSENT, parse_json, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.records import EventWaiter
from dagnats.model.times import format_time
from dagnats.model.workflow import WorkflowDef

_Key = tuple[str, str]


class Record(Struct, frozen=True):
    """An event with its place in the log and its time there (ns since 1970)."""

    seq: int
    timestamp_ns: int
    event: Event


class World:
    """Runs of some workflows, in memory.

    Args:
        definitions: what may be started, and be started as a child.
        begin: the time at which the clock stands first, ns since 1970.

    Attributes:
        now: the clock.
        runs: every run by id.
        log: every event, oldest first.
        tasks: what waits for a worker, oldest first; whoever works takes it out.
        dead_letters: what failed for good.
        approvals: open approvals by run and step.
        responses: what ``respond`` steps answered, by run.
        recalled: tasks that are no longer wanted, since this was last emptied.
    """

    def __init__(self, definitions: Iterable[WorkflowDef] = (), *, begin: int = 0) -> None:
        self.definitions = {definition.name: definition for definition in definitions}
        self.flow = Flow()
        env = Env(flow=self.flow, definition=self.definitions.get, secret=b"memory")
        self.machine = Machine(env)
        self.now = begin
        self.runs: dict[str, Run] = {}
        self.log: list[Record] = []
        self.tasks: deque[fx.Dispatch] = deque()
        self.dead_letters: list[fx.BuryTask] = []
        self.approvals: dict[_Key, fx.OpenApproval] = {}
        self.responses: dict[str, Raw] = {}
        self.recalled: list[fx.RecallTasks] = []
        self._seen: set[str] = set()
        self._inbox: deque[Event] = deque()
        self._settling = False
        self._published = 0
        self._waiters: dict[_Key, EventWaiter] = {}
        self._timers: dict[tuple[str, str, str], int] = {}
        self._queue: list[tuple[int, int, fx.SetTimer]] = []
        self._set = 0

    # --- what happens from outside -------------------------------------------------------------

    def start(self, workflow: str, run_id: str, given: Raw = ABSENT) -> None:
        """Start a run of a workflow that is known."""
        payload = StartPayload(workflow_def=raw(self.definitions[workflow]), input=given)
        event = Event(type=EventType.WORKFLOW_STARTED.value, run_id=run_id, payload=raw(payload))
        self.append(event, f"{run_id}.{event.type}")

    def append(self, event: Event, msg_id: str = "") -> bool:
        """Append an event to the log and let everything follow from it.

        Args:
            event: what happened, now.
            msg_id: an event whose id was seen before is dropped.

        Returns:
            Whether it was not dropped.
        """
        if msg_id and msg_id in self._seen:
            return False
        self._seen.add(msg_id)
        event.timestamp = format_time(self.now)
        self._inbox.append(event)
        self._settle()
        return True

    def publish(self, event_type: str, body: bytes) -> int:
        """Publish an event for those who wait for it; how many did.

        Raises:
            InvalidError: the body is not JSON.
        """
        data = parse_json(body)
        self._published += 1
        met = [
            waiter
            for waiter in self._waiters.values()
            if waiter.event_type == event_type and fits(waiter, data, self.now)
        ]
        for waiter in met:
            self.append(*match_event(waiter, body, self._published, self.now))
        return len(met)

    # --- the clock -----------------------------------------------------------------------------

    @property
    def due(self) -> int | None:
        """When the next timer fires (ns since 1970), ``None`` if none is set."""
        while self._queue and self._timers.get(_name(self._queue[0][2])) != self._queue[0][1]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def advance(self, until: int) -> None:
        """Move the clock to ``until`` (ns since 1970); a timer due on the way stops it there.

        All timers of one instant fire together.
        """
        due = self.due
        if due is None or due > until:
            self.now = max(self.now, until)
            return
        self.now = max(self.now, due)
        while (due := self.due) is not None and due <= self.now:
            timer = heapq.heappop(self._queue)[2]
            del self._timers[_name(timer)]
            self.append(timer.event, timer.msg_id)

    # --- what the machine asks for -------------------------------------------------------------

    def _settle(self) -> None:
        if self._settling:
            return
        self._settling = True
        while self._inbox:
            event = self._inbox.popleft()
            self.log.append(Record(len(self.log) + 1, self.now, event))
            run = self.runs.get(event.run_id)
            outcome = self.machine.apply(run, event, len(self.log), self.now, self.now)
            if outcome.run is not None:
                outcome.run.snapshot.applied_seq = len(self.log)
                self.runs[event.run_id] = outcome.run
            for effect in outcome.effects:
                self._do(effect)
        self._settling = False

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Emit():
                self.append(effect.event, effect.msg_id)
            case fx.Dispatch():
                if effect.msg_id not in self._seen:
                    self._seen.add(effect.msg_id)
                    self.tasks.append(effect)
            case fx.BuryTask():
                self.dead_letters.append(effect)
            case fx.Respond():
                self.responses.setdefault(effect.run_id, effect.response)
            case fx.RecallTasks():
                self._recall(effect)
            case fx.BindWorker():
                return  # There is one worker.
            case _:
                self._keep(effect)

    def _keep(self, effect: fx.Effect) -> None:
        match effect:
            case fx.SetTimer():
                self._set += 1
                self._timers[_name(effect)] = self._set
                heapq.heappush(self._queue, (effect.due, self._set, effect))
            case fx.CancelTimers():
                for name in [n for n in self._timers if _covers(effect, n[0], n[1])]:
                    del self._timers[name]
            case fx.AddWaiter():
                self._waiters[effect.waiter.run_id, effect.waiter.step_id] = effect.waiter
            case fx.DropWaiters():
                for key in [k for k in self._waiters if _covers(effect, *k)]:
                    del self._waiters[key]
            case fx.OpenApproval():
                self.approvals[effect.token.run_id, effect.token.step_id] = effect
            case fx.CloseApproval():
                self.approvals.pop((effect.run_id, effect.step_id), None)
            case _:
                raise InvalidError(f"unknown effect {effect!r:.80}")

    def _recall(self, effect: fx.RecallTasks) -> None:
        self.recalled.append(effect)
        wanted = [t for t in self.tasks if not t.payload.dispatch_nonce.startswith(effect.nonces)]
        self.tasks = deque(wanted)


def _name(timer: fx.SetTimer) -> tuple[str, str, str]:
    return timer.event.run_id, timer.event.step_id, timer.kind


def _covers(effect: fx.CancelTimers | fx.DropWaiters, run: str, step: str) -> bool:
    return effect.run_id == run and effect.step_id in ("", step)
