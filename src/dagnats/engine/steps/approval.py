"""``approval``: ask a person, with a single-use token and a time limit (``engine.md`` 6.8)."""

from __future__ import annotations

from dagnats.engine.effects import CancelTimers, CloseApproval, OpenApproval
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.progress import complete_step
from dagnats.engine.turn import Turn
from dagnats.model.codec import encode, raw
from dagnats.model.event import ApprovalRequest, EventType
from dagnats.model.records import ApprovalToken
from dagnats.model.run import StepState, StepStatus
from dagnats.model.task import FailureType
from dagnats.model.times import format_time
from dagnats.model.workflow import ApprovalConfig, StepDef

APPROVED = b'{"approved":true}'
"""Output of an approval that was given without a body."""


class ApprovalStep(StepKind):
    """Completes when it is approved; fails when it is rejected or expires."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Make the token, store it, and tell whoever listens."""
        config = turn.run.plan.config(step.id, ApprovalConfig)
        turn.run.set_status(state, StepStatus.RUNNING)
        state.started_at = turn.stamp
        expires = turn.now + config.timeout
        token = turn.env.nonce("approval", turn.run.id, step.id, state.dispatch, size=64)
        request = ApprovalRequest(
            token=token,
            run_id=turn.run.id,
            step_id=step.id,
            subject=config.subject,
            description=config.description,
            metadata=config.metadata or None,
            expires_at=format_time(expires),
        )
        record = ApprovalToken(
            token=token,
            run_id=turn.run.id,
            step_id=step.id,
            created_at=turn.stamp,
            expires_at=request.expires_at,
        )
        turn.do(OpenApproval(record, config.subject, encode(request)))
        again = state.dispatch if state.dispatch > 1 else 0
        turn.emit(EventType.APPROVAL_REQUESTED, step.id, payload=raw(request), attempt=again)
        event = turn.event_of(EventType.APPROVAL_EXPIRED, step.id, attempt=state.dispatch)
        msg_id = f"{turn.run.id}.{step.id}.approval_timeout.{state.dispatch}"
        turn.timer("approval", expires, event, msg_id)

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Somebody has decided, or nobody did in time."""
        del state
        body = bytes(turn.event.payload)
        if turn.event.type == EventType.APPROVAL_GRANTED:
            complete_step(turn, step.id, body or APPROVED)
        elif turn.event.type == EventType.APPROVAL_REJECTED:
            raise StepError(body.decode() if body else "approval rejected")
        elif turn.event.type == EventType.APPROVAL_EXPIRED:
            raise StepError("approval timed out", FailureType.RETRIABLE)

    def stop(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """The token is used up."""
        del state
        turn.do(CloseApproval(turn.run.id, step.id))
        if turn.event.type != EventType.APPROVAL_EXPIRED or turn.event.step_id != step.id:
            turn.do(CancelTimers(turn.run.id, step.id))
