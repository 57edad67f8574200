"""Workflow files: a definition and, if wanted, its triggers (``wire.md`` 7.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import Struct, field

from dagnats.errors import InvalidError
from dagnats.model.document import describe, parse_document
from dagnats.model.problems import Advice, Problem, quote
from dagnats.model.rules.warnings import warnings
from dagnats.model.shape import read_shape
from dagnats.model.trigger import TriggerDef, trigger_route
from dagnats.model.validate import normalise, validate, validate_trigger
from dagnats.model.workflow import WorkflowDef

WHAT = "workflow file"


class WorkflowDocument(WorkflowDef):
    """What a workflow file may hold: a definition, its triggers, and a schema for editors."""

    schema: str = field(name="$schema", default="")
    """Where an editor finds the JSON Schema of this file; not read otherwise."""
    triggers: list[TriggerDef] = []
    """Registered together with the workflow."""


class WorkflowFile(Struct, frozen=True):
    """A workflow file that could be read, and which rules it breaks.

    Args:
        definition: as it would be registered (``aux_steps`` derived).
        triggers: with their ``workflow_id`` filled in.
        problems: every broken rule; empty when the file may be registered.
        warnings: what is odd about a file without problems.
    """

    definition: WorkflowDef
    triggers: list[TriggerDef]
    problems: list[Problem]
    warnings: list[Advice]


def read_workflow(data: bytes | str) -> WorkflowFile:
    """A workflow file from its JSON text.

    Raises:
        InvalidError: it is not JSON, or fields are unknown or of the wrong type; names them all.
    """
    return workflow_of(parse_document(data, WHAT))


def workflow_of(tree: Any) -> WorkflowFile:
    """A workflow file from plain values, such as a YAML reader makes.

    Raises:
        InvalidError: fields are unknown or of the wrong type; names them all.
    """
    if not isinstance(tree, dict):
        raise InvalidError(f"{WHAT} holds {describe(tree)} where a workflow object should be")
    document = read_shape(tree, WorkflowDocument)
    definition = normalise(
        WorkflowDef(**{name: getattr(document, name) for name in WorkflowDef.__struct_fields__})
    )
    triggers = [_adopted(trigger, definition.name) for trigger in document.triggers]
    problems = validate(definition)
    for index, trigger in enumerate(triggers):
        where = f"triggers[{index}]"
        problems += [Problem(where, problem.text) for problem in validate_trigger(trigger)]
        problems += [Problem(where, text) for text in _foreign(trigger, definition.name)]
    problems += _collisions(triggers)
    answers_http = any(trigger.http is not None for trigger in triggers)
    odd = [] if problems else list(warnings(definition, answers_http=answers_http))
    odd += [] if problems else _asleep(cast("dict[str, Any]", tree))
    return WorkflowFile(definition, triggers, problems, odd)


def _asleep(tree: dict[str, Any]) -> list[Advice]:
    """Triggers that do not say whether they are on: then they are off (``wire.md`` 9.1)."""
    listed = cast("list[dict[str, Any]]", tree.get("triggers") or [])
    text = 'trigger {} does not fire: it does not say "enabled": true'
    return [
        Advice("disabled_trigger", text.format(quote(str(trigger["id"]))))
        for trigger in listed
        if "enabled" not in trigger
    ]


def _adopted(trigger: TriggerDef, workflow: str) -> TriggerDef:
    return msgspec.structs.replace(trigger, workflow_id=trigger.workflow_id or workflow)


def _foreign(trigger: TriggerDef, workflow: str) -> Iterator[str]:
    if trigger.workflow_id != workflow:
        yield (
            f"trigger {quote(trigger.id)}: workflow_id {quote(trigger.workflow_id)} "
            f"does not match parent workflow {quote(workflow)}"
        )


def _collisions(triggers: list[TriggerDef]) -> Iterator[Problem]:
    """Two triggers of one file with one id or one route."""
    ids: set[str] = set()
    routes: dict[str, str] = {}
    for index, trigger in enumerate(triggers):
        if trigger.id in ids:
            yield Problem(f"triggers[{index}].id", f"duplicate trigger ID {quote(trigger.id)}")
        ids.add(trigger.id)
        route = trigger_route(trigger)
        if route and route in routes:
            text = f"route conflict: {route} already registered by trigger {quote(routes[route])}"
            yield Problem(f"triggers[{index}]", text)
        routes.setdefault(route, trigger.id)
