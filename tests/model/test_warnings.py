from __future__ import annotations

import json
from typing import Any

import pytest

from dagnats.model.files import read_workflow

HTTP = {
    "enabled": True,
    "id": "h",
    "http": {"path": "/api/x", "method": "POST", "timeout_ms": 1, "max_body_bytes": 1},
}
SCHEMAS: dict[str, Any] = {"input_schema": {}, "output_schema": {}}
START = {"id": "start", "task": "t"}


def respond(step_id: str, *parents: str, value: Any = None, op: str = "==") -> dict[str, Any]:
    step: dict[str, Any] = {"id": step_id, "type": "respond", "depends_on": list(parents)}
    if value is not None:
        step["skip_if"] = {"step_id": "start", "field": "ok", "op": op, "value": value}
    return step


def kinds(*steps: dict[str, Any], http: bool = False, **more: Any) -> list[str]:
    document: dict[str, Any] = {"name": "w", "steps": [START, *steps]} | more
    file = read_workflow(json.dumps(document | ({"triggers": [HTTP]} if http else {})))
    assert file.problems == []
    return [advice.kind for advice in file.warnings]


def test_a_trigger_that_does_not_say_whether_it_is_on_is_off() -> None:
    silent = {"id": "nightly", "cron": {"expression": "@daily"}}
    assert kinds(triggers=[silent]) == ["disabled_trigger"]
    assert kinds(triggers=[silent | {"enabled": False}]) == []
    assert kinds(triggers=[silent | {"enabled": True}]) == []


def test_without_an_http_trigger_nothing_is_missing() -> None:
    assert kinds() == []


def test_an_http_trigger_wants_an_answer_and_schemas() -> None:
    assert kinds(http=True) == ["missing_respond", "missing_schemas"]
    assert kinds(http=True, **SCHEMAS) == ["missing_respond"]
    assert kinds(respond("r", "start"), http=True, input_schema={}) == ["missing_schemas"]
    assert kinds(respond("r", "start"), http=True, **SCHEMAS) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (respond("a", "start"), respond("b", "start"), ["duplicate_respond"]),
        (respond("a", "start", value=True), respond("b", "start", value=False), []),
        (respond("a", "start", value=1), respond("b", "start", value=1, op="!="), []),
        (
            respond("a", "start", value=1),
            respond("b", "start", value=1),
            ["duplicate_respond"],
        ),
        (respond("a", "start", value=1), respond("b", "start"), ["duplicate_respond"]),
    ],
)
def test_two_answers_are_odd_unless_they_exclude_each_other(
    first: dict[str, Any], second: dict[str, Any], expected: list[str]
) -> None:
    assert kinds(first, second) == expected


def test_overlapping_task_types_are_odd() -> None:
    assert kinds({"id": "a", "task": "git"}, {"id": "b", "task": "git.fetch"}) == [
        "overlapping_tasks"
    ]
    assert kinds({"id": "a", "task": "git"}, {"id": "b", "task": "gitlab.fetch"}) == []
