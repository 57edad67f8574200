from __future__ import annotations

import pytest

from dagnats.model.codec import raw
from dagnats.model.schema import check_schema, schema_problem
from dagnats.model.validate import validate
from dagnats.model.workflow import StepDef, WorkflowDef

ORDER = b"""{"type": "object", "required": ["id"], "properties": {
    "id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}}}"""


def test_a_value_that_fits() -> None:
    assert check_schema(ORDER, b'{"id": 1, "tags": ["a"]}') == []
    assert check_schema(b"{}", b"null") == []
    assert check_schema(b'{"type": "integer"}', b"9007199254740993") == []


def test_problems_have_paths() -> None:
    assert check_schema(ORDER, b'{"id": "x", "tags": ["a", 2]}') == [
        'id: "x" is not of type "integer"',
        'tags.1: 2 is not of type "string"',
    ]
    assert check_schema(ORDER, b"{}") == ['(root): "id" is a required property']


@pytest.mark.parametrize(
    "schema",
    [
        b"{",
        b"null",
        b"5",
        b'{"type": "intger"}',
        b'{"pattern": "("}',
        b'{"$ref": "http://example.com/x.json"}',
        b'{"$ref": "file:///etc/passwd"}',
        b'{"$ref": "#/$defs/missing"}',
        b'{"$schema": "http://example.com/own"}',
        b'{"not":' * 400 + b"{}" + b"}" * 400,
        b'{"maximum": 1e400}',
    ],
)
def test_a_bad_schema_is_a_problem(schema: bytes) -> None:
    problem = schema_problem(schema)
    assert problem.startswith("invalid schema: ")
    assert len(problem) < 300
    assert check_schema(schema, b"1") == [problem]


def test_nothing_is_fetched() -> None:
    assert "not fetched" in schema_problem(b'{"$ref": "http://example.com/x.json"}')


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 800 + b"]" * 800, b"[" * 9000])
def test_data_that_cannot_be_read_is_a_problem(data: bytes) -> None:
    (problem,) = check_schema(b'{"type": "string"}', data)
    assert problem.startswith("invalid data: ")


def test_problems_are_bounded_in_number_and_length() -> None:
    ones = b"[" + b",".join([b"1"] * 1000) + b"]"
    problems = check_schema(b'{"maxItems": 1, "items": {"type": "string"}}', ones)
    assert len(problems) == 20
    assert all(len(problem) < 300 for problem in problems)
    large = b"[" + b",".join([b"1"] * 200_000) + b"]"
    assert len(check_schema(b'{"items": {"type": "string"}}', large)) == 1


def test_a_pattern_cannot_run_for_ever() -> None:
    hostile = b'{"pattern": "^(a|a?)+\\\\1$"}'
    assert len(check_schema(hostile, b'"' + b"a" * 50_000 + b'!"')) == 1


def test_a_definition_with_a_bad_schema_is_refused() -> None:
    steps = [StepDef(id="a", task="t")]
    sound = WorkflowDef(name="w", steps=steps, input_schema=raw({"type": "object"}))
    assert validate(sound) == []
    broken = WorkflowDef(name="w", steps=steps, output_schema=raw({"type": "intger"}))
    (problem,) = validate(broken)
    assert problem.path == "output_schema"
    assert problem.text.startswith("output_schema: invalid schema: ")
