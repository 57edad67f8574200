"""The control plane: what a step may do to the system while it works (``engine.md`` 14).

A handler proves that it is at work with the nonce of its dispatch; its workflow must be granted the
control plane, and its step must ask for it. Everything counts per tree of runs, by its root.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import encode, raw
from dagnats.model.event import Event, EventType, SpawnPayload, StartPayload
from dagnats.model.times import format_time
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.retention import EPHEMERAL, SPAWNED
from dagnats.services import audit
from dagnats.services.runs import check_input, new_run_id, start_event
from dagnats.services.runtime_proof import Caller, ControlPlaneError, Proof, caller_of, policy_of
from dagnats.services.runtime_quota import (
    RuntimeLimits,
    active_runs,
    own_definitions,
    take_registration,
)
from dagnats.services.session import Session
from dagnats.services.tolerant import value_of
from dagnats.services.workflows import keep_revision
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing

PROMOTED = "promoted."
MAX_NAME = 256


class Budget(Struct, frozen=True):
    """What a tree of runs uses, and what it may use."""

    active_runs: int
    max_active_runs: int
    registered_defs: int
    max_registered_defs: int


async def register_runtime(
    session: Session,
    proof: Proof,
    definition: WorkflowDef,
    limits: RuntimeLimits,
    *,
    promote: bool = False,
) -> str:
    """Register a workflow on behalf of a step at work.

    Args:
        session: the connection.
        proof: who asks.
        definition: as the author named it.
        limits: of the tree.
        promote: for everybody and to stay, not for the tree and as long as it lives.

    Returns:
        The name under which it can be started.

    Raises:
        ControlPlaneError: refused; ``kind`` says why.
    """
    caller = await caller_of(session, proof)
    action = "runtime.promote" if promote else "runtime.register"
    try:
        scoped = await _register(session, caller, definition, limits, promote=promote)
    except ControlPlaneError as error:
        await _note(session, caller, action, definition.name, error)
        raise
    await _note(session, caller, action, scoped)
    return scoped


async def _register(
    session: Session,
    caller: Caller,
    definition: WorkflowDef,
    limits: RuntimeLimits,
    *,
    promote: bool,
) -> str:
    _check_name(definition.name)
    if promote:
        if definition.name not in (await policy_of(session)).promote:
            raise ControlPlaneError(f"{definition.name!r} may not be promoted", "denied")
        scoped = PROMOTED + definition.name
    else:
        await take_registration(session, caller.root, limits)
        scoped = f"{EPHEMERAL}{caller.root}.{definition.name}"
    definition = normalise(definition)
    problems = [problem.text for problem in validate(definition)]
    if problems:
        raise ControlPlaneError(problems[0], "invalid_def")
    known = await value_of(session.stores.definitions, scoped)
    stored = msgspec.structs.replace(definition, name=scoped)
    await keep_revision(session, stored)
    await session.stores.definitions.put(scoped, stored)
    if not promote and len(await own_definitions(session, caller.root)) > limits.max_defs:
        # Counted after the write, so that two at once cannot both take the last place.
        if known is None:
            await session.stores.definitions.delete(scoped)
        raise ControlPlaneError(
            f"the tree of run {caller.root} has {limits.max_defs} definitions", "quota_exceeded"
        )
    return scoped


def _check_name(name: str) -> None:
    problem = ""
    if not name:
        problem = "workflow name must not be empty"
    elif len(name) > MAX_NAME:
        problem = f"workflow name of {len(name)} characters (max {MAX_NAME})"
    elif name.startswith(EPHEMERAL):
        problem = "workflow name must not carry the agent. prefix"
    else:
        for sign in (":", "."):
            if sign in name:
                problem = f"workflow name must not contain '{sign}'"
                break
    if problem:
        raise ControlPlaneError(problem, "namespace")


async def spawn_run(
    session: Session,
    proof: Proof,
    workflow: str,
    data: bytes | None,
    limits: RuntimeLimits,
    *,
    key: str = "",
    detach: bool = False,
) -> str:
    """Start a run on behalf of a step at work.

    Args:
        session: the connection.
        proof: who asks.
        workflow: name of a registered workflow; an ephemeral one of the same tree.
        data: its input, JSON; ``None``: no input.
        limits: of the tree.
        key: the same key names the same child, however often the step is tried.
        detach: the child is a root of its own, and tells its parent nothing.

    Returns:
        The child's id.

    Raises:
        ControlPlaneError: refused; ``kind`` says why.
    """
    caller = await caller_of(session, proof)
    try:
        child = await _spawn(session, caller, workflow, data, limits, key, detach=detach)
    except ControlPlaneError as error:
        await _note(session, caller, "runtime.spawn", workflow, error)
        raise
    await _note(session, caller, "runtime.spawn", workflow)
    return child


async def _spawn(
    session: Session,
    caller: Caller,
    workflow: str,
    data: bytes | None,
    limits: RuntimeLimits,
    key: str,
    *,
    detach: bool,
) -> str:
    definition = await _definition(session, caller, workflow)
    depth = 0 if detach else caller.run.depth + 1
    if depth >= limits.max_depth:
        raise ControlPlaneError(f"max nesting depth {limits.max_depth} exceeded", "depth_exceeded")
    try:
        given = check_input(definition, data)
    except InvalidError as error:
        raise ControlPlaneError(error.message, "invalid_def") from None
    child = _child_id(caller, key) if key else new_run_id()
    place = f"{SPAWNED}.{caller.root}.{child}"
    await session.stores.engine_state.put(place, b"1")
    if await active_runs(session, caller.root, besides=child) >= limits.max_active_runs:
        await session.stores.engine_state.delete(place)
        raise ControlPlaneError(
            f"the tree of run {caller.root} has {limits.max_active_runs} runs at work",
            "quota_exceeded",
        )
    spawn = SpawnPayload(
        child_run_id=child,
        child_workflow=workflow,
        detach=detach,
        input=given,
        parent_step_id=caller.step_id,
    )
    start = StartPayload(
        workflow_def=raw(definition),
        input=given,
        parent_run_id=caller.run.run_id,
        parent_step_id=caller.step_id,
        root_run_id="" if detach else caller.root,
        depth=depth,
        detached=detach,
    )
    # The parent knows of the child before it begins: its end cannot come first.
    await session.bus.publisher.publish_all(
        [_spawned(caller, spawn, session.now()), start_event(child, start, session.now())]
    )
    return child


async def _definition(session: Session, caller: Caller, workflow: str) -> WorkflowDef:
    if not workflow:
        raise ControlPlaneError("workflow name must not be empty", "unresolvable_name")
    foreign = workflow.startswith(EPHEMERAL) and workflow.split(".")[1] != caller.root
    found = None
    if not foreign and subjects.is_key(workflow):
        found = await value_of(session.stores.definitions, workflow)
    if found is None:
        raise ControlPlaneError(f'child workflow "{workflow[:64]}" not found', "unresolvable_name")
    return found


def _child_id(caller: Caller, key: str) -> str:
    text = f"{caller.run.run_id}\0{caller.step_id}\0spawn\0{key}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _spawned(caller: Caller, spawn: SpawnPayload, now: int) -> Outgoing:
    event = Event(
        type=EventType.WORKFLOW_SPAWN.value,
        run_id=caller.run.run_id,
        step_id=caller.step_id,
        timestamp=format_time(now),
        payload=raw(spawn),
    )
    msg_id = f"{event.run_id}.{event.step_id}.{event.type}.{spawn.child_run_id}"
    return Outgoing(subjects.history(event.run_id), encode(event), msg_id)


async def get_budget(session: Session, proof: Proof, limits: RuntimeLimits) -> Budget:
    """What the tree of a step at work uses.

    Raises:
        ControlPlaneError: refused; ``kind`` says why.
    """
    caller = await caller_of(session, proof)
    return Budget(
        active_runs=await active_runs(session, caller.root),
        max_active_runs=limits.max_active_runs,
        registered_defs=len(await own_definitions(session, caller.root)),
        max_registered_defs=limits.max_defs,
    )


async def _note(
    session: Session,
    caller: Caller,
    action: str,
    target: str,
    error: ControlPlaneError | None = None,
) -> None:
    own = Session(session.bus, session.stores, actor=f"runtime:{caller.run.run_id}")
    data = {"owner_run_id": caller.run.run_id}
    if error is None:
        await audit.record(own, action, target[:MAX_NAME], data)
        return
    outcome = "denied" if error.kind == "denied" else "failed"
    await audit.record(own, action, target[:MAX_NAME], {**data, "reason": error.kind}, outcome)
