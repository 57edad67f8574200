"""Who asks the control plane: a step at work, proven by the nonce of its dispatch."""

from __future__ import annotations

import asyncio
import hmac
import time

from msgspec import Struct

from dagnats.engine.dispatch import CONTROL_PLANE
from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import decode
from dagnats.model.policy import ControlPlanePolicy, Policy
from dagnats.model.run import ACTIVE_STEP, WorkflowRun, is_terminal
from dagnats.services import audit
from dagnats.services.file_sync import POLICY
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.session import Session
from dagnats.services.tolerant import value_of
from dagnats.services.workflows import get_revision
from dagnats.wire.subjects import is_key

LAG_S = 2.0
"""How long a snapshot may lag behind the task that a worker has already begun, in seconds."""


class ControlPlaneError(DagnatsError):
    """The control plane refuses.

    Args:
        message: what is wrong.
        kind: one of those of ``wire.md`` 12.1.
    """

    code = "control_plane"

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Proof(Struct, frozen=True):
    """What a handler shows: its run, its step and the nonce of its dispatch."""

    run_id: str
    step_id: str
    nonce: str


class Caller(Struct, frozen=True):
    """A step at work; ``root`` is the run its tree grew from."""

    run: WorkflowRun
    step_id: str
    root: str


async def caller_of(session: Session, proof: Proof) -> Caller:
    """The step that a proof speaks for.

    Raises:
        ControlPlaneError: it proves nothing, or its workflow is not granted the control plane.
    """
    if not (proof.run_id and proof.step_id and proof.nonce):
        text = "dispatch proof required (run/step/nonce must be non-empty)"
        raise ControlPlaneError(text, "namespace")
    run = await _proven(session, proof)
    if not await _granted(session, run, proof.step_id):
        own = Session(session.bus, session.stores, actor=f"runtime:{run.run_id}")
        data = {"owner_run_id": run.run_id, "reason": "not_authorized"}
        await audit.record(own, "runtime.call", run.workflow_id, data, "denied")
        raise ControlPlaneError(
            f'workflow "{run.workflow_id}" is not granted the control plane', "denied"
        )
    return Caller(run, proof.step_id, run.root_run_id or run.run_id)


async def _proven(session: Session, proof: Proof) -> WorkflowRun:
    """Snapshots are written a moment after tasks: what does not fit yet is looked at again."""
    deadline = time.monotonic() + LAG_S
    while True:
        run = None
        if is_key(proof.run_id):
            run = await value_of(session.stores.runs, RUN_PREFIX + proof.run_id)
        problem = _problem(run, proof)
        if run is not None and not problem:
            return run
        if time.monotonic() > deadline or (run is not None and is_terminal(run.status)):
            raise ControlPlaneError(problem, "namespace")
        await asyncio.sleep(0.05)


def _problem(run: WorkflowRun | None, proof: Proof) -> str:
    run_id, step_id = proof.run_id[:64], proof.step_id[:64]
    if run is None:
        return f'verify dispatch: load owner run "{run_id}": not found'
    if is_terminal(run.status):
        return f'verify dispatch: owner run "{run_id}" is terminal'
    state = run.steps.get(proof.step_id)
    if state is None:
        return f'verify dispatch: owner step "{step_id}" not found'
    if state.status not in ACTIVE_STEP:
        return f'verify dispatch: owner step "{step_id}" not in an active state'
    if not hmac.compare_digest(state.dispatch_nonce.encode(), proof.nonce.encode()):
        return f'verify dispatch: nonce mismatch for run "{run_id}" step "{step_id}"'
    return ""


async def _granted(session: Session, run: WorkflowRun, step_id: str) -> bool:
    """As the engine decides when it hands the task out: by workflow, and asked for by the step."""
    if run.workflow_id not in (await policy_of(session)).grant:
        return False
    steps = list(run.dynamic_steps)
    if run.revision:
        steps += (await get_revision(session, run.workflow_id, run.revision)).steps
    return any(step.id == step_id and CONTROL_PLANE in step.required_capabilities for step in steps)


async def policy_of(session: Session) -> ControlPlanePolicy:
    """Who may do what; nobody may anything until it is said."""
    entry = await session.stores.engine_control.get(POLICY)
    try:
        return decode(entry.value, Policy).control_plane if entry else ControlPlanePolicy()
    except InvalidError:
        return ControlPlanePolicy()
