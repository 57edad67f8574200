from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.codec import parse_json
from dagnats.model.conditions import SKIP_OPERATORS, WAIT_OPERATORS, evaluate_skip, matches
from dagnats.model.gotext import go_text
from dagnats.model.paths import PathError, lookup
from dagnats.model.workflow import SkipCondition

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("999999", "999999"),
        ("1000000", "1e+06"),
        ("1234567", "1.234567e+06"),
        ("12345678.9", "1.23456789e+07"),
        ("123456.789", "123456.789"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1.0", "1"),
        ("0", "0"),
        ("-0.0", "-0"),
        ("-1.5", "-1.5"),
        ("100000", "100000"),
        ("-1000000", "-1e+06"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-07"),
        ("1.5e100", "1.5e+100"),
        ("9007199254740993", "9.007199254740992e+15"),
        ("1" + "0" * 400, "+Inf"),
        ("true", "true"),
        ("false", "false"),
        ("null", "<nil>"),
        ('"plain"', "plain"),
        ("[]", "[]"),
        ("{}", "map[]"),
        ('["a", 1, null]', "[a 1 <nil>]"),
        ('{"b": 2, "a": [1, {"x": true}]}', "map[a:[1 map[x:true]] b:2]"),
        ('{"é": 1, "z": 2, "Z": 3}', "map[Z:3 z:2 é:1]"),
    ],
)
def test_go_text_of_json(document: str, text: str) -> None:
    assert go_text(parse_json(document)) == text


def test_go_text_of_a_deep_value_does_not_recurse() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    assert len(go_text(value)) == 200_001


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_go_text_of_a_number_reads_back_as_the_number(number: float) -> None:
    assert float(go_text(number)) == number


@given(json_values)
def test_go_text_of_anything_is_text(value: Any) -> None:
    assert isinstance(go_text(value), str)


DATA = {"a": {"b": [1, 2], "c": None, "": {"x": 1}}, "n": 1, "t": "x", "f": True}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", [1, 2]), ("n", 1), ("a.c", None), ("a..x", 1), ("a", DATA["a"])],
)
def test_paths_lead_to_values(path: str, value: Any) -> None:
    assert lookup(DATA, path) == value


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.x", 'path "a.x": key "x" not found'),
        ("a.b.0", 'path "a.b.0": expected object at "0", got array'),
        ("n.x", 'path "n.x": expected object at "x", got number'),
        ("t.x", 'path "t.x": expected object at "x", got string'),
        ("f.x", 'path "f.x": expected object at "x", got boolean'),
        ("a.c.x", 'path "a.c.x": expected object at "x", got null'),
        (".n", 'path ".n": key "" not found'),
        ("", "empty path"),
    ],
)
def test_paths_that_lead_nowhere_say_where_they_end(path: str, text: str) -> None:
    with pytest.raises(PathError) as caught:
        lookup(DATA, path)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("left", "op", "right", "skipped"),
    [
        (1, "==", 1.0, True),
        (2, ">", 1, True),
        (2, "<=", 1, False),
        (10**400, ">", 1, True),
        ("a", "<", "b", True),
        ("a", "==", "a", True),
        (True, "==", True, True),
        (True, "!=", False, True),
        (True, ">", False, False),
        (1, "==", "1", False),
        (1, "==", True, False),
        (0, "!=", "x", False),
        (None, "==", None, False),
        ([1], "==", [1], False),
        (1, "~", 1, False),
    ],
)
def test_skip_if_compares_like_with_like(left: Any, op: str, right: Any, skipped: bool) -> None:
    condition = SkipCondition(step_id="s", field="f", op=op, value=right)
    assert evaluate_skip(condition, json.dumps({"f": left}).encode()) is skipped


@pytest.mark.parametrize("output", [b"", b"null", b"[]", b"1", b"not json", b'{"g":1}', b"\xff"])
def test_skip_if_of_an_output_without_the_field_is_false(output: bytes) -> None:
    assert not evaluate_skip(SkipCondition(step_id="s", field="f", op="==", value=1), output)


@pytest.mark.parametrize(
    ("left", "op", "right", "matched"),
    [
        (1, "eq", 1.0, True),
        (1, "eq", "1", True),
        ("1", "==", 1, True),
        (1_000_000, "eq", "1e+06", True),
        (1_000_000, "eq", "1000000", True),
        ("007", "eq", 7, False),
        ("007", "eq", "7", False),
        ("1.0", "eq", "1", False),
        (9007199254740993, "eq", 9007199254740992, False),
        ("nan", "eq", "nan", True),
        ("a", "ne", "b", True),
        (True, "eq", "true", True),
        (None, "eq", None, True),
        ({"a": 1}, "eq", {"a": 1.0}, True),
        (9, "lt", 10, True),
        (9, "<", "10", True),
        ("9", "lt", "10", False),
        ("a", "le", "a", True),
        (2, "gt", 1, True),
        (2, ">=", 2, True),
        ("x", "gt", 1, False),
        (None, "lt", 1, False),
        (1, "like", 1, False),
    ],
)
def test_waits_compare_numbers_as_numbers(left: Any, op: str, right: Any, matched: bool) -> None:
    assert matches(left, op, right) is matched


@given(json_values, st.sampled_from([*WAIT_OPERATORS, "?"]), json_values)
def test_no_pair_of_values_breaks_a_comparison(left: Any, op: str, right: Any) -> None:
    assert matches(left, op, right) in (True, False)
    for skip_op in SKIP_OPERATORS:
        condition = SkipCondition(step_id="s", field="f", op=skip_op, value=right)
        assert evaluate_skip(condition, json.dumps({"f": left}).encode()) in (True, False)


@given(json_values, json_values)
def test_ne_is_the_opposite_of_eq(left: Any, right: Any) -> None:
    assert matches(left, "eq", right) != matches(left, "ne", right)
