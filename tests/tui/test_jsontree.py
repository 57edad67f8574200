"""The JSON tree: folds, finds, copies, and stays bounded whatever it is given."""

from __future__ import annotations

import time
from typing import Any
from unicodedata import category

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.tui import jsontree
from dagnats.tui.jsontree import JsonTree, Node, node_line, path_text, value_text
from dagnats.tui.theme import Look


def tree_of(value: Any) -> JsonTree:
    return JsonTree(msgspec.json.encode(value))


def texts(tree: JsonTree) -> list[str]:
    return [node_line(tree, node, Look()).text.rstrip() for node in tree.rows()]


def row(tree: JsonTree, *path: str | int) -> Node:
    return next(node for node in tree.rows() if node.path == path)


def test_small_nodes_are_open_and_deeper_ones_are_not() -> None:
    found = {"errors": [{"file": "a.py", "line": 88}, {"file": "b.py"}], "code": 1, "ok": None}
    assert texts(tree_of(found)) == [
        "▾ errors: [2]",
        "  ▸ 0: {2} file, line",
        "  ▸ 1: {1} file",
        "  code: 1",
        "  ok: null",
    ]


def test_a_node_opens_and_closes() -> None:
    tree = tree_of({"a": {"b": {"c": [True, "x"]}}})
    tree.toggle(row(tree, "a", "b"))
    assert texts(tree) == ["▾ a: {1}", "  ▾ b: {1}", "    ▸ c: [2]"]
    tree.open_all()
    assert texts(tree)[3:] == ["        0: true", '        1: "x"']
    tree.close_all()
    assert texts(tree) == ["▸ a: {1} b"]


def test_a_plain_value_is_one_row() -> None:
    assert texts(tree_of("hello <world>")) == ['  "hello <world>"']
    assert texts(tree_of([])) == []


def test_text_that_is_no_json_is_shown_as_it_is() -> None:
    tree = JsonTree(b"Traceback: \x1b[31mboom")
    assert "not JSON" in tree.problem
    assert "\x1b" not in texts(tree)[0]


def test_of_many_members_some_are_shown_until_more_are_asked_for() -> None:
    tree = tree_of(list(range(1000)))
    assert (len(tree.rows()), tree.rows()[-1].more) == (201, 800)
    tree.toggle(tree.rows()[-1])
    assert (len(tree.rows()), tree.rows()[-1].more) == (401, 600)
    assert texts(tree)[-1] == "  ▼ 600 more"


def test_search_goes_round_and_opens_what_it_finds() -> None:
    tree = tree_of({"a": [{"name": "Ada"}] * 3, "many": [*range(500), "ada lovelace"]})
    assert tree.search("ada") == 4
    assert tree.search("nothing") == 0
    assert tree.next_hit(None) is None
    tree.search("ADA")
    first = tree.next_hit(None)
    assert first == ("a", 0, "name")
    last = tree.next_hit(first, -1)
    assert last == ("many", 500)
    assert tree.is_hit(row(tree, "many", 500))
    assert tree.next_hit(last) == first


def test_a_path_and_a_value_can_be_copied() -> None:
    assert path_text(("errors", 0, "file")) == "errors.0.file"
    assert value_text("plain") == "plain"
    assert value_text({"a": "<b>"}) == '{"a":"<b>"}'


def test_a_huge_document_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": at, "text": "x" * 50, "tags": ["a", "b"]} for at in range(20_000)]
    began = time.perf_counter()
    tree = tree_of(rows)
    assert len(tree.rows()) == 201
    tree.open_all()
    assert len(tree.rows()) < 2_000
    tree.search("tags")
    assert time.perf_counter() - began < 3
    monkeypatch.setattr(jsontree, "LARGEST", 10)
    assert "too large" in tree_of(rows).problem


def test_depth_is_no_danger() -> None:
    tree = JsonTree(b"[" * 400 + b"]" * 400)
    tree.open_all()
    assert len(tree.rows()) == 399


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_document_gives_safe_rows(value: Any) -> None:
    tree = tree_of(value)
    tree.open_all()
    for node in tree.rows():
        shown = node_line(tree, node, Look()).text
        assert all(category(char) not in {"Cc", "Cf", "Zl", "Zp"} for char in shown)
        tree.is_open(node)
