"""A run in the sandbox, and what failed for good."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct

from dagnats.engine.effects import BuryTask
from dagnats.engine.inputs import run_outputs
from dagnats.errors import ConflictError, NotFoundError, RunEndedError, UsageError
from dagnats.model.codec import ABSENT, parse_json, raw
from dagnats.model.event import EndPayload, Event, EventType, OverridePayload, ReopenPayload
from dagnats.model.run import RunStatus, StepState, StepStatus, WorkflowRun, is_terminal
from dagnats.worker.values import OutputError, decoder, encode_output

if TYPE_CHECKING:
    from dagnats.testing.sandbox import Sandbox


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A step that failed for good."""

    run_id: str
    step_id: str
    task: str
    error: str
    attempts: int
    input: Any

    @classmethod
    def of(cls, buried: BuryTask) -> DeadLetter:
        """What the machine buried."""
        return cls(
            run_id=buried.payload.run_id,
            step_id=buried.payload.step_id,
            task=buried.task,
            error=buried.error,
            attempts=buried.attempts,
            input=parse_json(bytes(buried.payload.input) or b"null"),
        )


class Run:
    """One run. Made by :meth:`Sandbox.start` and :meth:`Sandbox.run`."""

    def __init__(self, box: Sandbox, run_id: str) -> None:
        self._box = box
        self.id = run_id

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    # --- as the client's run ------------------------------------------------------------------

    async def result(self, timeout: float | timedelta | None = None, kind: Any = Any) -> Any:  # noqa: ASYNC109
        """Let everything happen until the run has ended, and return its output.

        Args:
            timeout: taken for the client's sake; time here is virtual and costs nothing.
            kind: the type to read the output as.

        Raises:
            RunEndedError: the run ended other than completed.
            AssertionError: it will never end.
        """
        del timeout
        await self.end()
        state = self.state
        if state.status != RunStatus.COMPLETED:
            because = f": {state.error}" if state.error else ""
            raise RunEndedError(f"run {self.id} ended {state.status}{because}")
        return decoder(kind)(bytes(run_outputs(self._box.world.runs[self.id])))

    async def status(self) -> str:
        """Where the run stands."""
        return str(self.state.status)

    async def snapshot(self) -> WorkflowRun:
        """All that is known of the run just now."""
        return self.state

    async def cancel(self) -> None:
        """Cancel the run.

        Raises:
            ConflictError: it has ended already.
        """
        self._live()
        self._send(EventType.WORKFLOW_CANCELLED, raw(EndPayload(status="cancelled")))

    async def signal(self, name: str, value: Any = None) -> None:
        """Send a signal to a handler of the run that waits for it, or will.

        Raises:
            ConflictError: the run has ended already.
        """
        self._live()
        await self._box.link.send_signal(self.id, name, body_of(value, "signal"))

    async def approve(self, step: str, value: Any = None) -> None:
        """Let time pass until the step asks for approval, and give it; ``value`` is its output."""
        await self._decide(step, EventType.APPROVAL_GRANTED, value)

    async def reject(self, step: str, value: Any = None) -> None:
        """Let time pass until the step asks for approval, and reject it, for a reason if given."""
        await self._decide(step, EventType.APPROVAL_REJECTED, value)

    # --- what a test asks ---------------------------------------------------------------------

    @property
    def state(self) -> WorkflowRun:
        """The run's snapshot: ``state.status``, ``state.error``, ``state.steps["a"].attempts``."""
        return self._box.snapshot(self.id)

    @property
    def steps(self) -> dict[str, StepState]:
        """The steps' states by id."""
        return self.state.steps

    @property
    def outputs(self) -> dict[str, Any]:
        """The output of every step that has one."""
        steps = self.steps.items()
        return {step_id: parse_json(step.output) for step_id, step in steps if step.output}

    @property
    def history(self) -> list[Event]:
        """Every event of the run, oldest first."""
        return [item.event for item in self._box.world.log if item.event.run_id == self.id]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What failed for good in this run."""
        return [letter for letter in self._box.dead_letters if letter.run_id == self.id]

    def child(self, step: str) -> Run:
        """The child run that a sub_workflow step started.

        Raises:
            NotFoundError: it has started none.
        """
        found = self._step(step).child_run_id
        if not found:
            raise NotFoundError(f"step {step!r} of {self.id} has started no child run")
        return Run(self._box, found)

    async def end(self) -> None:
        """Let everything happen until the run has ended, however it does.

        Raises:
            AssertionError: it will never end.
        """
        await self._box.until(lambda: is_terminal(self.state.status), f"the end of {self.id}")

    async def reached(self, step: str) -> None:
        """Let everything happen until a step is under way, or past that.

        Raises:
            AssertionError: it will never be.
        """
        before = (StepStatus.PENDING, StepStatus.QUEUED)
        await self._box.until(
            lambda: self._step(step).status not in before, f"step {step!r} of {self.id}"
        )

    async def override(self, step: str, action: str, reason: str, output: Any = None) -> None:
        """Do by hand what operators can: complete, fail, skip, retry or cancel a step."""
        self._live()
        self._step(step)
        body = OverridePayload(
            action=action, reason=reason, output=Raw(optional(output) or b""), actor="test"
        )
        self._send(EventType.STEP_OVERRIDE, raw(body), step)

    async def replay(self, step: str, input: Any = None) -> None:  # noqa: A002
        """Replay the dead letter of a failed run's step: the run goes on there.

        Raises:
            ConflictError: the run has not failed.
        """
        failed = (RunStatus.FAILED, RunStatus.COMPENSATE_FAILED)
        if self.state.status not in failed:
            raise ConflictError(f"run {self.id} is {self.state.status}; only failed runs reopen")
        self._step(step)
        given = optional(input)
        body = ReopenPayload(input=ABSENT if given is None else Raw(given))
        self._send(EventType.WORKFLOW_REOPENED, raw(body), step)

    # ------------------------------------------------------------------------------------------

    def _step(self, step: str) -> StepState:
        found = self.steps.get(step)
        if found is None:
            raise NotFoundError(f"{self.id} has no step {step!r}")
        return found

    def _live(self) -> None:
        if is_terminal(self.state.status):
            raise ConflictError(f"run {self.id} has ended {self.state.status}")

    async def _decide(self, step: str, decision: EventType, value: Any) -> None:
        self._step(step)
        asked = self._box.world.approvals
        goal = f"an approval asked by step {step!r} of {self.id}"
        await self._box.until(lambda: (self.id, step) in asked or self._over(step), goal)
        if (self.id, step) not in asked:
            raise NotFoundError(f"step {step!r} of {self.id} waits for no approval")
        given = optional(value)
        self._send(decision, ABSENT if given is None else Raw(given), step)

    def _over(self, step: str) -> bool:
        waits = (StepStatus.PENDING, StepStatus.QUEUED, StepStatus.RUNNING)
        return is_terminal(self.state.status) or self._step(step).status not in waits

    def _send(self, kind: EventType, payload: Raw, step: str = "") -> None:
        event = Event(type=kind.value, run_id=self.id, step_id=step, payload=payload)
        self._box.world.append(event)


def optional(value: Any) -> bytes | None:
    """A value as JSON, None for none at all."""
    return None if value is None else body_of(value, "value")


def body_of(value: Any, what: str) -> bytes:
    """A value as JSON.

    Raises:
        UsageError: it has no JSON form.
    """
    try:
        return bytes(encode_output(value)) or b"null"
    except OutputError as error:
        raise UsageError(f"{what}: {error}") from None
