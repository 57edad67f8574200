"""The OpenAPI 3.1 document, made from the operations themselves and the HTTP triggers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, get_args

from starlette.responses import Response

from dagnats import __version__
from dagnats.model.trigger import TriggerDef
from dagnats.runtime.triggers.http import served_at
from dagnats.server.http.operations import Operation
from dagnats.server.http.problems import MEDIA, Problem
from dagnats.server.http.schemas import Schemas

_TYPED = re.compile(r"{(\w+):\w+}")

ERRORS = {
    "400": "The request is wrong.",
    "401": "A token is missing or wrong.",
    "403": "A rule, limit or permission forbids it.",
    "404": "There is no such thing.",
    "408": "The body did not arrive in time.",
    "409": "The state of the thing forbids it.",
    "413": "The body is too large.",
    "421": "Another host is meant.",
    "429": "Too many requests; see Retry-After.",
    "503": "NATS does not answer; see Retry-After.",
}
"""What every operation may answer."""


def document(
    operations: Iterable[Operation], triggers: Iterable[TriggerDef] = ()
) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        operations: of the API.
        triggers: those that answer HTTP requests are described as well.
    """
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        path = _TYPED.sub(r"{\1}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, schemas)
    for trigger in triggers:
        _add_trigger(paths, trigger)
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dagnats",
            "version": __version__,
            "description": "Durable workflows on NATS JetStream.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": schemes},
    }


def _body_kind(operation: Operation) -> Any:
    if operation.body is None:
        return None
    return operation.schema if operation.schema is not None else operation.body


def _answer_kind(operation: Operation) -> Any:
    """The type of a JSON answer; a handler that may also stream says so in its annotation."""
    answer = operation.answer
    if answer is Response:
        return None
    options = [option for option in get_args(answer) if option is not Response]
    return options[0] if Response in get_args(answer) else answer


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    summary, _, more = (operation.handler.__doc__ or "").strip().partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": summary,
        "responses": _responses(operation, schemas),
    }
    if more.strip():
        described["description"] = re.sub(r"\n +", "\n", more.strip())
    if parameters := _parameters(operation, schemas):
        described["parameters"] = parameters
    if operation.body is not None:
        schema = schemas.of(_body_kind(operation))
        described["requestBody"] = {
            "required": operation.body_required and operation.body is not bytes,
            "content": {"application/json": {"schema": schema}},
        }
    if operation.access in ("open", "approval"):
        described["security"] = []
    return described


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    kind = _answer_kind(operation)
    content: dict[str, Any] = {operation.media: {"schema": {"type": "string"}}}
    if kind is not None:
        content = {operation.media: {"schema": schemas.of(kind)}}
    if operation.answer is not kind:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    success = {"description": HTTPStatus(operation.status).phrase, "content": content}
    problem = {MEDIA: {"schema": schemas.of(Problem)}}
    if operation.access == "open":
        return {str(operation.status): success, "503": {"description": "Something is wrong."}}
    return {
        str(operation.status): success,
        **{status: {"description": text, "content": problem} for status, text in ERRORS.items()},
    }


def _parameters(operation: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, kind in operation.parameters.items():
        schema = {"type": "integer", "minimum": 0} if kind is int else {"type": "string"}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if operation.query is None:
        return found
    shape = schemas.fields(operation.query)
    for name, schema in shape["properties"].items():
        required = name in shape.get("required", ())
        found.append({"name": name, "in": "query", "required": required, "schema": schema})
    return found


def _add_trigger(paths: dict[str, dict[str, Any]], trigger: TriggerDef) -> None:
    if not trigger.enabled or (trigger.http is None and trigger.webhook is None):
        return
    method, path = served_at(trigger)
    answer = "answer with what it responds" if trigger.http else "tell its id"
    described: dict[str, Any] = {
        "operationId": trigger.id,
        "tags": ["triggers of workflows"],
        "summary": f"Run workflow {trigger.workflow_id} and {answer}",
        "security": [],
        "responses": {"default": {"description": "What the trigger answers."}},
    }
    if method not in ("GET", "DELETE"):
        described["requestBody"] = {"content": {"application/json": {"schema": {}}}}
    paths.setdefault(path, {})[method.lower()] = described
