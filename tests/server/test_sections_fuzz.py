"""Whatever a YAML file holds, it is taken or refused with its line, and nothing else happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dagnats.errors import InvalidError
from dagnats.server.sections import read_sections

WORDS = [
    "name",
    "steps",
    "id",
    "task",
    "type",
    "config",
    "depends_on",
    "retry",
    "timeout",
    "triggers",
    "cron",
    "expression",
    "timezone",
    "webhook",
    "path",
    "http",
    "method",
    "subject",
    "workflow",
    "workflow_id",
    "enabled",
    "debounce",
    "period",
    "control_plane",
    "grant",
    "promote",
    "version",
    "external",
    "kind",
    "secret",
    "signature",
    "input_schema",
    "singleton",
    "concurrency",
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["a", "30s", "* * * * *", "/hooks/a", "sleep", "normal", "b.>", "", "\ud800"]),
    st.dates(),
    st.binary(max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), SCALARS), inner, max_size=4),
    ),
    max_leaves=12,
)
ENTRY = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=6)
FILE = st.fixed_dictionaries(
    {},
    optional={
        "workflows": st.one_of(VALUES, st.lists(ENTRY, max_size=3)),
        "triggers": st.one_of(VALUES, st.lists(ENTRY, max_size=3)),
        "policy": st.one_of(VALUES, ENTRY),
        "http_addr": SCALARS,
    },
)


def problems(path: Path) -> tuple[str, ...]:
    try:
        read_sections(path)
    except InvalidError as error:
        return error.problems
    return ()


@settings(max_examples=200)
@given(FILE)
def test_any_tree(tmp_path_factory: Any, tree: Any) -> None:
    path: Path = tmp_path_factory.mktemp("fuzz") / "dagnats.yaml"
    path.write_bytes(yaml.dump(tree, allow_unicode=False).encode("utf-8", "replace"))
    assert all(str(path) in problem for problem in problems(path))


@settings(max_examples=200)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"# \n\t,.0", max_size=60))
def test_any_text(tmp_path_factory: Any, text: str) -> None:
    path: Path = tmp_path_factory.mktemp("fuzz") / "dagnats.yaml"
    path.write_text(f"workflows:\n  - name: {text}\ntriggers: {text}\n")
    assert all(str(path) in problem for problem in problems(path))
