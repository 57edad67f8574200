"""Run again from a step: a new run that takes the recorded outputs of what it does not repeat."""

from __future__ import annotations

from typing import Any, cast

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, InvalidError, NotFoundError, UsageError
from dagnats.model.codec import is_absent, parse_json, raw
from dagnats.model.event import StartPayload
from dagnats.model.run import StepStatus, is_terminal
from dagnats.model.workflow import WorkflowDef
from dagnats.services import audit
from dagnats.services.run_query import RunView, get_run
from dagnats.services.runs import Retried, check_input, new_run_id, parse_json_input, start_event
from dagnats.services.session import Session


class Change(Struct, frozen=True):
    """One place where the new input differs from the old."""

    path: str
    old: Any
    new: Any


class RerunPlan(Struct, frozen=True, kw_only=True):
    """What a rerun will do.

    Args:
        reuse: steps whose recorded output is taken.
        execute: steps that run again.
        changes: how the input differs.
    """

    run_id: str
    workflow: str
    step: str
    reuse: list[str]
    execute: list[str]
    input: Raw
    changes: list[Change]
    definition: WorkflowDef
    outputs: dict[str, Raw]


async def plan_rerun(
    session: Session,
    run_id: str,
    step: str,
    input: bytes | None = None,  # noqa: A002
    sets: tuple[str, ...] = (),
) -> RerunPlan:
    """Work out what running again from ``step`` means. Changes nothing.

    Args:
        session: the connection.
        run_id: the full id of a run that has ended.
        step: the first step to repeat; everything behind it is repeated as well.
        input: a new input, JSON.
        sets: changes to the input, each ``dot.path=value``; a value that is not JSON is text.

    Raises:
        NotFoundError: there is no such run or step, or its definition is gone.
        ConflictError: the run has not ended.
        InvalidError: the new input is wrong.
        UsageError: both a new input and changes to the old one are given.
    """
    if input is not None and sets:
        raise UsageError("--input and --set exclude each other")
    view = await get_run(session, run_id)
    definition = _checked(view, step)
    repeat = _behind(definition, step)
    outputs = {
        other.id: Raw(view.run.steps[other.id].output or b"null")
        for other in definition.steps
        if other.id not in repeat and _completed(view, other.id)
    }
    old = view.run.input
    given = _changed(old, sets) if sets else old
    if input is not None:
        given = parse_json_input(input)
    if bytes(given) != bytes(old):
        check_input(definition, bytes(given))
    return RerunPlan(
        run_id=view.run.run_id,
        workflow=definition.name,
        step=step,
        reuse=list(outputs),
        execute=[other.id for other in definition.steps if other.id not in outputs],
        input=given,
        changes=changes(_value(old), _value(given)),
        definition=definition,
        outputs=outputs,
    )


def _checked(view: RunView, step: str) -> WorkflowDef:
    run, definition = view.run, view.definition
    if not is_terminal(run.status):
        raise ConflictError(
            f"run {run.run_id} has not ended (status: {run.status})",
            f"cancel it first, or use 'dagnats step retry {run.run_id} {step}'",
        )
    if definition is None:
        raise NotFoundError(f'the definition of workflow "{run.workflow_id}" is gone')
    known = [other.id for other in definition.steps]
    if step not in known:
        planned = " (steps of a plan cannot be rerun alone)" if step in run.steps else ""
        raise NotFoundError(
            f'workflow "{definition.name}" has no step "{step}"{planned}',
            f"steps: {', '.join(known)}",
        )
    return definition


def _behind(definition: WorkflowDef, step: str) -> set[str]:
    """The step and everything that depends on it."""
    repeat, grown = {step}, True
    while grown:
        more = {
            other.id
            for other in definition.steps
            if other.id not in repeat and repeat.intersection(other.depends_on)
        }
        grown = bool(more)
        repeat |= more
    return repeat


def _completed(view: RunView, step: str) -> bool:
    state = view.run.steps.get(step)
    aux = view.definition.aux_steps if view.definition else {}
    return state is not None and state.status == StepStatus.COMPLETED and step not in aux


def _value(data: Raw) -> Any:
    return None if is_absent(data) else parse_json(bytes(data))


def _changed(old: Raw, sets: tuple[str, ...]) -> Raw:
    value: Any = _value(old)
    for change in sets:
        path, equals, text = change.partition("=")
        if not equals or not all(path.split(".")):
            raise InvalidError(f"--set {change[:64]!r}: expected path=value")
        value = _with(value, path.split("."), _json_or_text(text), path)
    return raw(value)


def _with(value: Any, keys: list[str], new: Any, path: str) -> Any:
    if not keys:
        return new
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InvalidError(f'--set {path}: there is no object to hold "{keys[0]}"')
    known = cast("dict[str, Any]", value)
    return {**known, keys[0]: _with(known.get(keys[0]), keys[1:], new, path)}


def _json_or_text(text: str) -> Any:
    try:
        return parse_json(text)
    except InvalidError:
        return text


def changes(old: Any, new: Any, path: str = "") -> list[Change]:
    """Where two JSON values differ, by dot path; arrays are compared whole."""
    if isinstance(old, dict) and isinstance(new, dict):
        left, right = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        found: list[Change] = []
        for key in sorted({*left, *right}):
            found += changes(left.get(key), right.get(key), f"{path}.{key}" if path else key)
        return found
    same = old == new and isinstance(old, bool) == isinstance(new, bool)
    return [] if same else [Change(path or "(root)", old, new)]


async def rerun_from(session: Session, plan: RerunPlan) -> Retried:
    """Start the run that was planned. It is linked to the original."""
    payload = StartPayload(
        workflow_def=raw(plan.definition),
        input=plan.input,
        origin_run_id=plan.run_id,
        reuse=plan.outputs,
    )
    new_id = new_run_id()
    await session.bus.publisher.publish(start_event(new_id, payload, session.now()))
    await audit.record(session, "run.rerun", plan.run_id, {"from": plan.step, "new_run_id": new_id})
    return Retried(plan.run_id, plan.workflow, new_id)
