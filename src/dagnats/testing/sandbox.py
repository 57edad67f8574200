"""Runs workflows with their real handlers, in memory and in no time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw

from dagnats.engine.effects import Dispatch
from dagnats.engine.memory import World
from dagnats.errors import InvalidError, NotFoundError, UsageError
from dagnats.model.codec import ABSENT
from dagnats.model.names import is_subject
from dagnats.model.problems import invalid
from dagnats.model.run import WorkflowRun
from dagnats.model.schema import check_schema
from dagnats.model.task import TaskPayload
from dagnats.model.times import SECOND
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import WorkflowDef
from dagnats.testing.calls import Call, SandboxLink
from dagnats.testing.clock import Clock
from dagnats.testing.run import DeadLetter, Run, body_of, optional
from dagnats.worker import Worker
from dagnats.worker.handler import Handler
from dagnats.worker.threads import Threads
from dagnats.workflow import Workflow
from dagnats.workflow_terms import Span, nanoseconds

log = logging.getLogger("dagnats.testing")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the clock stands when a test begins, so that every test sees the same times."""

PATIENCE_S = 5.0
"""A handler that works for this long, in real seconds, is spoken of: the clock waits for it."""

_SETTLE = 5
"""Turns of the event loop in which a cancellation reaches the handler it is meant for."""


class Sandbox:
    """Runs workflows with real handlers on the engine's own state machine, without a server.

        async with Sandbox(worker) as box:
            await box.register(wf)
            run = await box.start("thumbs", {"url": "…"})
            assert await run.result() == {"size": 3}

    Time stands still while a handler works and jumps to the next timer when nothing else can
    happen: retries, sleeps and timeouts take no time. ``register``, ``start`` and
    ``publish_event``, and the runs, are those of :class:`dagnats.Client`.

    Args:
        workers: whose handlers do the tasks; where two know a task type, the later one does it.
        begin: where the clock stands first; needs a time zone.
    """

    def __init__(self, *workers: Worker, begin: datetime = BEGIN) -> None:
        if begin.tzinfo is None:
            raise UsageError(f"begin {begin} has no time zone", "use datetime(…, tzinfo=UTC)")
        self._begin = int(begin.timestamp()) * SECOND
        self.world = World(begin=self._begin)
        self._handlers: dict[tuple[str, str], Handler] = {}
        for worker in workers:
            for handler in worker.handlers:
                self._handlers[handler.task, handler.options.group] = handler
        self._calls: dict[Call, asyncio.Task[None]] = {}
        self._started = 0

    async def __aenter__(self) -> Sandbox:
        self.clock = Clock(lambda: self.world.now)
        self.link = SandboxLink(self.clock, Threads())
        return self

    async def __aexit__(self, *_: object) -> None:
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    # --- as the client ------------------------------------------------------------------------

    async def register(self, *workflows: Workflow | WorkflowDef) -> None:
        """Make workflows known: built ones, or definitions.

        Raises:
            InvalidError: naming every problem.
        """
        for workflow in workflows:
            definition = workflow.build() if isinstance(workflow, Workflow) else workflow
            problems = validate(definition)
            if problems:
                raise invalid(problems)
            self.world.definitions[definition.name] = normalise(definition)

    async def start(self, workflow: str | Workflow, input: Any = None) -> Run:  # noqa: A002
        """Start a run; nothing happens in it before the next ``await`` that lets it.

        Args:
            workflow: a registered workflow, or its name; one built here need not be registered.
            input: what JSON can hold; None for no input.

        Raises:
            NotFoundError: there is no such workflow.
            InvalidError: the input does not fit the workflow's schema.
        """
        if isinstance(workflow, Workflow) and workflow.name not in self.world.definitions:
            await self.register(workflow)
        name = workflow.name if isinstance(workflow, Workflow) else workflow
        definition = self.world.definitions.get(name)
        if definition is None:
            raise NotFoundError(f'workflow "{name}" not found', "register it first")
        given = optional(input)
        if given is not None and bytes(definition.input_schema):
            problems = check_schema(bytes(definition.input_schema), given)
            if problems:
                raise InvalidError(f"input validation: {problems[0]}")
        self._started += 1
        run_id = f"run-{self._started}"
        self.world.start(name, run_id, ABSENT if given is None else Raw(given))
        return Run(self, run_id)

    def run(self, run_id: str) -> Run:
        """A run by its id: ``run-1``, ``run-2`` and so on for those that were started here."""
        return Run(self, run_id)

    async def publish_event(self, event_type: str, event: Any) -> int:
        """Publish an event; how many waits and cancel rules it met.

        Raises:
            InvalidError: the type cannot be one.
        """
        if not is_subject(event_type):
            raise InvalidError(f"event type {event_type!r:.80} is not a dotted name")
        return self.world.publish(event_type, body_of(event, "event"))

    # --- what a test asks ---------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return datetime.fromtimestamp(self.world.now / SECOND, UTC)

    @property
    def elapsed(self) -> timedelta:
        """How much virtual time has passed."""
        return timedelta(microseconds=(self.world.now - self._begin) // 1000)

    @property
    def runs(self) -> list[Run]:
        """Every run, child runs included, in order of their start."""
        return [Run(self, run_id) for run_id in self.world.runs]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What failed for good, oldest first."""
        return [DeadLetter.of(buried) for buried in self.world.dead_letters]

    async def settle(self) -> None:
        """Let everything happen that can without time passing."""
        await self._drive(lambda: False, self.world.now)

    async def sleep(self, span: Span) -> None:
        """Let time pass, and everything happen that does meanwhile.

        Args:
            span: seconds, a ``timedelta``, or a text such as ``"10m"``.
        """
        until = self.world.now + nanoseconds(span, "sleep")
        await self._drive(lambda: False, until)

    async def until(self, reached: Callable[[], bool], goal: str) -> None:
        """Let things happen until ``reached()``.

        Args:
            reached: looked at after everything that happens.
            goal: what is waited for, for the message.

        Raises:
            AssertionError: nothing is left to happen that could lead there.
        """
        await self._drive(reached, None)
        if not reached():
            runs = ", ".join(f"{run.id} is {run.state.status}" for run in self.runs)
            raise AssertionError(f"{goal} is never reached: {runs}, and nothing is left to happen")

    def snapshot(self, run_id: str) -> WorkflowRun:
        """A run's state.

        Raises:
            NotFoundError: there is no such run.
        """
        run = self.world.runs.get(run_id)
        if run is None:
            raise NotFoundError(f'run "{run_id[:64]}" not found')
        return run.snapshot

    # --- making things happen -----------------------------------------------------------------

    async def _drive(self, reached: Callable[[], bool], until: int | None) -> None:
        """Go on until ``reached()``, until the time is over, or until nothing is left to do."""
        while True:
            for _ in range(_SETTLE):
                await asyncio.sleep(0)
            self._recall()
            if reached():
                return
            if self._begin_calls():
                continue
            if self.clock.busy:
                await self._handlers_at_work()
            elif not self._jump(until):
                return

    def _jump(self, until: int | None) -> bool:
        """Move the clock to whatever comes next; whether there was anything."""
        due = [moment for moment in (self.world.due, self.clock.due) if moment is not None]
        if not due or (until is not None and min(due) > until):
            if until is not None:
                self.world.advance(until)
            return False
        self.world.advance(max(min(due), self.world.now))
        self.clock.ring()
        return True

    async def _handlers_at_work(self) -> None:
        self.clock.moved.clear()
        waiting = asyncio.ensure_future(self.clock.moved.wait())
        while not (await asyncio.wait({waiting}, timeout=PATIENCE_S))[0]:
            names = ", ".join(sorted({call.payload.task_id for call in self._calls}))
            log.warning("the clock waits for %s; sleep with ctx.sleep() in a handler", names)

    def _begin_calls(self) -> bool:
        """Hand tasks to handlers that have room; whether there was one."""
        left, begun = list(self.world.tasks), False
        self.world.tasks.clear()
        for task in left:
            handler = self._handlers.get((task.task, task.group))
            if handler is None:
                self._check_missing(task)
            if handler is None or self._at_work(handler) >= handler.options.concurrency:
                self.world.tasks.append(task)
                continue
            begun = True
            self._begin_call(handler, task.payload)
        return begun

    def _begin_call(self, handler: Handler, payload: TaskPayload) -> None:
        call = Call(handler, payload, self.link, self.world.append)
        self.clock.begin()
        running = self._calls[call] = asyncio.create_task(call.run())

        def ended(task: asyncio.Task[None]) -> None:
            del self._calls[call]
            self.clock.end()
            if not task.cancelled():
                task.result()

        running.add_done_callback(ended)

    def _check_missing(self, task: Dispatch) -> None:
        """A task without a handler is an oversight, unless its step says how long it may wait."""
        step = self.world.runs[task.payload.run_id].step(task.payload.step_id.split(".map.")[0])
        if step is None or not step.queue_timeout:
            group = f" of group {task.group!r}" if task.group else ""
            raise UsageError(
                f"no handler for task {task.task!r}{group}, which {task.payload.task_id} needs",
                "give the sandbox a worker that has one",
            )

    def _at_work(self, handler: Handler) -> int:
        return sum(call.handler is handler for call in self._calls)

    def _recall(self) -> None:
        """Tell handlers whose run has ended."""
        recalls, self.world.recalled = self.world.recalled, []
        for recall in recalls:
            for call in list(self._calls):
                if call.payload.dispatch_nonce.startswith(recall.nonces):
                    call.recall()
