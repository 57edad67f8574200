from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.names import is_key, is_subject, name_problem, pattern_problem, step_id_problem
from dagnats.model.problems import quote


@pytest.mark.parametrize("name", ["a", "a.b", "-rf", "--help", "a/b", "CON", "x" * 256, "a=b_c"])
def test_names_that_are_keys(name: str) -> None:
    assert is_key(name)
    assert name_problem("workflow name", name) == ""
    assert step_id_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "", "x" * 257, "..", ".", "a..b", ".a", "a.", "a\\b", " ", "a b", "*", ">", "a.*", "a\x00b",
        "a\nb", "a\n", "a\tb", "a\u202eb", "e\u0301", "é", "👨‍👩‍👧", "\u0430dmin", "a:b",
    ],
)  # fmt: skip
def test_names_that_are_not(name: str) -> None:
    assert name_problem("workflow name", name) != ""
    assert step_id_problem(name) != ""


@given(st.text(max_size=12))
def test_a_clean_subject_never_widens_a_subscription(text: str) -> None:
    if is_subject(text):
        assert not set(text) & set("*> \t\r\n")
        assert "" not in text.split(".")
    if is_key(text):
        assert is_subject(text)


@pytest.mark.parametrize("pattern", ["orders.*", "orders.>", "a", "dead.>", "event.x", "a.*.b.>"])
def test_patterns_that_may_start_runs(pattern: str) -> None:
    assert pattern_problem(pattern) == ""


@pytest.mark.parametrize(
    "pattern",
    [
        "a..b", "a.>.b", "a b", ".a", "a.", "ab*", "a.b>", "", ">", "*", "*.b", "history.>",
        "task.x", "$JS.API.>", "_INBOX.x", "trigger.fire.x", "trigger.*", "telemetry.>", "x" * 300,
    ],
)  # fmt: skip
def test_patterns_that_may_not(pattern: str) -> None:
    assert pattern_problem(pattern) != ""


def test_quotes_are_those_of_go() -> None:
    assert quote('a"b\\c\n\x1b\u202e') == '"a\\"b\\\\c\\n\\x1b\\u202e"'
    assert quote("x" * 100) == '"' + "x" * 80 + '…"'
