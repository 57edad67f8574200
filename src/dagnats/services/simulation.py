"""A workflow played offline: the engine's own machine, a clock that jumps, pretended workers.

Every task takes no time and gives ``{}`` (the parent of a map step three items) unless the scenario
says otherwise. Approvals are granted, waits meet their event, workflows that are started as a
child and are not at hand have one step.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Raw, Struct

from dagnats.engine.effects import Dispatch
from dagnats.engine.inputs import run_outputs
from dagnats.engine.memory import World
from dagnats.engine.run import Run
from dagnats.engine.steps.map import split_instance
from dagnats.errors import InvalidError, RefusedError, UsageError
from dagnats.model.codec import ABSENT, decode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.problems import quote
from dagnats.model.run import RunStatus, is_terminal
from dagnats.model.schema import check_schema
from dagnats.model.task import StepFailedPayload, TaskPayload
from dagnats.model.workflow import StepDef, StepType, SubWorkflowConfig, WorkflowDef
from dagnats.services.timeline import Simulation, timeline_of

T = TypeVar("T")

ALWAYS = -1
"""A step that fails this often fails whenever it is tried."""

MAX_EVENTS = 100_000
"""Events after which a simulation is given up: a retry policy may allow very many tries."""

RUN_ID = "simulated"


class Scenario(Struct, frozen=True, kw_only=True):
    """What is to happen, by step id.

    Args:
        input: the run's input as JSON; ``None`` for none.
        failures: how many attempts of a step fail first (:data:`ALWAYS`: all); an approval that
            fails is rejected, a wait that fails meets no event.
        durations: how long each attempt takes, ns; for approvals and waits: when the answer comes.
        outputs: what a step gives, as JSON.
        loops: how many iterations a loop step asks for after its first.
        begin: when the run starts, ns since 1970.
        workflows: definitions that may be started as a child.
    """

    input: bytes | None = None
    failures: dict[str, int] = {}
    durations: dict[str, int] = {}
    outputs: dict[str, bytes] = {}
    loops: dict[str, int] = {}
    begin: int = 0
    workflows: list[WorkflowDef] = []


def simulate(definition: WorkflowDef, scenario: Scenario) -> Simulation:
    """Play one run of a workflow.

    Raises:
        UsageError: the scenario speaks of a step that cannot come to be.
        InvalidError: the input does not fit the workflow's schema.
        RefusedError: the run does not end within :data:`MAX_EVENTS` events.
    """
    _check(definition, scenario)
    player = _Player(definition, scenario)
    player.play()
    run = player.world.runs[RUN_ID]
    done = run.snapshot.status == RunStatus.COMPLETED
    return timeline_of(
        run,
        player.world.log,
        scenario.begin,
        outputs=run_outputs(run) if done else None,
        dead_letters=[letter.payload.step_id for letter in player.world.dead_letters],
    )


def _check(definition: WorkflowDef, scenario: Scenario) -> None:
    known = {step.id for each in (definition, *scenario.workflows) for step in each.steps}
    named = (scenario.failures, scenario.durations, scenario.outputs, scenario.loops)
    for step_id in (step_id for group in named for step_id in group):
        if step_id not in known and not any(step_id.startswith(f"{of}.") for of in known):
            raise UsageError(
                f"workflow {quote(definition.name)} has no step {quote(step_id)}",
                f"its steps are {', '.join(step.id for step in definition.steps)}",
            )
    if scenario.input is not None and bytes(definition.input_schema):
        problems = check_schema(bytes(definition.input_schema), scenario.input)
        if problems:
            raise InvalidError(f"input validation: {problems[0]}")


class _Player:
    """Does what workers and people would do, at the time the scenario says."""

    def __init__(self, definition: WorkflowDef, scenario: Scenario) -> None:
        known = {each.name: each for each in scenario.workflows}
        known |= {each.name: each for each in _stand_ins(definition, known)}
        self.world = World([*known.values(), definition], begin=scenario.begin)
        self._name = definition.name
        self._scenario = scenario
        self._failed: dict[tuple[str, str], int] = {}
        self._acts: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._read = 0

    def play(self) -> None:
        """Play until nothing is left to happen."""
        given = self._scenario.input
        self.world.start(self._name, RUN_ID, ABSENT if given is None else Raw(given))
        while not is_terminal(self.world.runs[RUN_ID].snapshot.status):
            self._react()
            if not self._step():
                return
            if len(self.world.log) > MAX_EVENTS:
                raise RefusedError(
                    f"the run has not ended after {MAX_EVENTS} events",
                    "let fewer attempts fail: --fail step=3",
                )

    def _step(self) -> bool:
        """Do what is due next; whether there was anything."""
        act = self._acts[0][0] if self._acts else None
        due = self.world.due
        if act is not None and (due is None or act <= due):
            self.world.advance(act)
            heapq.heappop(self._acts)[2]()
            return True
        if due is not None:
            self.world.advance(due)
        return due is not None

    def _later(self, step_id: str, act: Callable[[], None]) -> None:
        self._count += 1
        due = self.world.now + self._of(self._scenario.durations, step_id, 0)
        heapq.heappush(self._acts, (due, self._count, act))

    @staticmethod
    def _of(by_step: dict[str, T], step_id: str, default: T) -> T:
        """What the scenario says of a step, or of the map step it is an item of."""
        owner = split_instance(step_id)
        return by_step.get(step_id, by_step.get(owner[0], default) if owner else default)

    def _react(self) -> None:
        """Take tasks, and answer what has been asked since the last look."""
        while self.world.tasks:
            self._work(self.world.tasks.popleft())
        for record in self.world.log[self._read :]:
            self._answer(record.event)
        self._read = len(self.world.log)

    # --- tasks --------------------------------------------------------------------------------

    def _work(self, task: Dispatch) -> None:
        payload = task.payload
        self._tell(payload, EventType.STEP_STARTED)
        self._later(payload.step_id, lambda: self._finish(payload))

    def _finish(self, task: TaskPayload) -> None:
        step_id = task.step_id
        if self._fails(task.run_id, step_id):
            failure = StepFailedPayload(error="simulated failure", failure_type="retriable")
            self._tell(task, EventType.STEP_FAILED, raw(failure))
        elif task.iteration < self._scenario.loops.get(step_id, 0):
            self._tell(task, EventType.STEP_CONTINUE)
        else:
            self._tell(task, EventType.STEP_COMPLETED, Raw(self._output(task)))

    def _fails(self, run_id: str, step_id: str) -> bool:
        wanted = self._of(self._scenario.failures, step_id, 0)
        already = self._failed.get((run_id, step_id), 0)
        if wanted != ALWAYS and already >= wanted:
            return False
        self._failed[run_id, step_id] = already + 1
        return True

    def _output(self, task: TaskPayload) -> bytes:
        known = self._of(self._scenario.outputs, task.step_id, b"")
        if known:
            return known
        run = self.world.runs[task.run_id]
        return b"[1,2,3]" if _feeds_map(run, task.step_id) else b"{}"

    def _tell(self, task: TaskPayload, kind: EventType, payload: Raw = ABSENT) -> None:
        number = task.attempt or (1 if kind == EventType.STEP_STARTED else 0)
        self._send(kind, task.run_id, task.step_id, payload, number)

    # --- people and events --------------------------------------------------------------------

    def _answer(self, event: Event) -> None:
        match event.type:
            case EventType.APPROVAL_REQUESTED:
                self._later(event.step_id, lambda: self._decide(event))
            case EventType.WAIT_STARTED if not self._fails(event.run_id, event.step_id):
                body = self._scenario.outputs.get(event.step_id, b"{}")
                self._later(
                    event.step_id,
                    lambda: self._send(
                        EventType.WAIT_MATCHED, event.run_id, event.step_id, Raw(body)
                    ),
                )
            case _:
                return

    def _decide(self, event: Event) -> None:
        refused = self._fails(event.run_id, event.step_id)
        kind = EventType.APPROVAL_REJECTED if refused else EventType.APPROVAL_GRANTED
        body = b"" if refused else self._scenario.outputs.get(event.step_id, b"")
        self._send(kind, event.run_id, event.step_id, Raw(body))

    def _send(
        self, kind: EventType, run_id: str, step_id: str, payload: Raw, attempt: int = 0
    ) -> None:
        self.world.append(
            Event(
                type=kind.value,
                run_id=run_id,
                step_id=step_id,
                payload=payload,
                attempt_number=attempt,
            )
        )


def _feeds_map(run: Run, step_id: str) -> bool:
    children = run.plan.children.get(step_id, ())
    return any(run.plan.steps[child].type == StepType.MAP for child in children)


def _stand_ins(definition: WorkflowDef, known: dict[str, WorkflowDef]) -> Iterable[WorkflowDef]:
    """A workflow of one step for each child nobody gave: it acts as its parent step is to act."""
    for each in (definition, *known.values()):
        for step in each.steps:
            if step.type != StepType.SUB_WORKFLOW:
                continue
            name = decode(bytes(step.config) or b"{}", SubWorkflowConfig).workflow
            if name not in known and name != definition.name:
                made = StepDef(id=step.id, task=name, depends_on=[])
                yield WorkflowDef(name=name, version="1", steps=[made])
