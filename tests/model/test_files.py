from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import encode
from dagnats.model.document import MAX_BYTES, MAX_DEPTH, parse_document
from dagnats.model.files import WorkflowDocument, WorkflowFile, read_workflow, workflow_of
from dagnats.model.shape import struct_info
from dagnats.model.times import DAY, HOUR, MINUTE, SECOND
from dagnats.model.trigger import TriggerDef
from dagnats.model.workflow import CancelOn, StepDef

BASE: dict[str, Any] = {"name": "w", "steps": [{"id": "a", "task": "t"}]}


def read(**changes: Any) -> WorkflowFile:
    return read_workflow(json.dumps(BASE | changes))


def problems_of(document: Any) -> tuple[str, ...]:
    """Every problem of a document, whether it can be read or not."""
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    try:
        return tuple(problem.text for problem in read_workflow(text).problems)
    except InvalidError as error:
        return error.problems


def step(**fields: Any) -> dict[str, Any]:
    return BASE | {"steps": [BASE["steps"][0] | fields]}


def test_a_file_as_it_would_be_registered() -> None:
    file = read_workflow(
        json.dumps(
            {
                "$schema": "https://example.com/workflow.json",
                "name": "review",
                "timeout": "30m",
                "steps": [
                    {"id": "fetch", "task": "git.fetch", "timeout": 30 * SECOND},
                    {
                        "id": "wait",
                        "type": "sleep",
                        "config": {"duration": "7d"},
                        "depends_on": ["fetch"],
                    },
                    {
                        "id": "lint",
                        "task": "lint.run",
                        "depends_on": ["wait"],
                        "retry": {"max_attempts": 3, "initial_delay": "1m30s", "multiplier": 1.5},
                        "on_failure": "alert",
                        "metadata": {"team": "a"},
                        "retries": None,
                    },
                    {"id": "alert", "task": "notify"},
                ],
                "triggers": [{"id": "nightly", "enabled": True, "cron": {"expression": "@daily"}}],
            }
        )
    )
    assert file.problems == []
    definition = file.definition
    assert definition.timeout == 30 * MINUTE
    assert [each.timeout for each in definition.steps] == [30 * SECOND, 0, 0, 0]
    assert bytes(definition.steps[1].config) == b'{"duration":%d}' % (7 * DAY)
    retry = definition.steps[2].retry
    assert retry is not None
    assert retry.initial_delay == 90 * SECOND
    assert definition.aux_steps == {"alert": True}
    assert definition.version == "1"
    assert file.triggers[0].workflow_id == "review"
    assert b"$schema" not in encode(definition)
    assert b"triggers" not in encode(definition)


def test_what_we_write_reads_back_the_same() -> None:
    first = read(timeout="1h", steps=[BASE["steps"][0] | {"config": {"any": [1, "x"]}}]).definition
    assert read_workflow(encode(first)).definition == first
    assert first.timeout == HOUR


def test_every_problem_is_named_at_once_with_its_path() -> None:
    document = BASE | {
        "nmae": "x",
        "timeout": "1h30",
        "steps": [
            {
                "id": 1,
                "tsk": "t",
                "type": "map",
                "max_items": 3,
                "depends_on": "a",
                "metadata": {"a b": 1},
                "retry": {"max_attempts": "x", "initial_delay": 1.5},
                "config": {"max_items": True, "size": 1},
            },
            "b",
        ],
    }
    assert sorted(problems_of(document)) == sorted(
        [
            'unknown field "nmae" (did you mean "name"?)',
            'timeout: expected a duration such as "30s", "1h30m" or "7d", got "1h30"',
            "steps[0].id: expected text, got 1",
            'steps[0]: unknown field "tsk" (did you mean "task"?)',
            (
                'steps[0]: unknown field "max_items" '
                '(it belongs into config: did you mean "config.max_items"?)'
            ),
            'steps[0].depends_on: expected an array, got "a"',
            'steps[0].metadata["a b"]: expected text, got 1',
            'steps[0].retry.max_attempts: expected an integer, got "x"',
            (
                "steps[0].retry.initial_delay: "
                'expected a duration such as "30s", or whole nanoseconds, got 1.5'
            ),
            "steps[0].config.max_items: expected an integer, got true",
            'steps[0].config: unknown field "size" (known: max_items, max_concurrency)',
            'steps[1]: expected an object, got "b"',
        ]
    )


def test_the_singular_trigger_is_a_likely_slip() -> None:
    assert problems_of(BASE | {"trigger": []}) == (
        'unknown field "trigger" (did you mean "triggers"?)',
    )


def test_a_hundred_problems_are_listed_and_the_rest_counted() -> None:
    problems = problems_of(BASE | {f"x{n}": n for n in range(1000)})
    assert len(problems) == 101
    assert problems[-1] == "and 900 more problems"


@pytest.mark.parametrize("written", ["1h30", "P1D", "30", "1 h", "", "-", "9999999999h", "½h"])
def test_texts_that_are_no_duration(written: str) -> None:
    assert "expected a duration" in problems_of(BASE | {"timeout": written})[0]


@pytest.mark.parametrize(
    ("written", "nanoseconds"),
    [("0", 0), ("90s", 90 * SECOND), ("1.5h", 90 * MINUTE), ("1d12h", 36 * HOUR), ("2w", 14 * DAY)],
)
def test_texts_that_are(written: str, nanoseconds: int) -> None:
    assert read(timeout=written).definition.timeout == nanoseconds


def test_negative_and_huge_numbers_are_problems() -> None:
    assert problems_of(BASE | {"timeout": -1}) == (
        'workflow "w" Timeout must not be negative, got -1ns',
    )
    assert problems_of(BASE | {"timeout": 10**30}) == (
        f"timeout: expected a number that fits 64 bits, got {10**30}",
    )
    assert "fits 64 bits" in problems_of(step(retries=1 << 63))[0]


BAD_TEXTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "workflow file is empty"),
    "blank": (b" \n\t", "workflow file is empty"),
    "cut": ("{", "line 1, column 2"),
    "trailing comma": ('{"name": "w",}', "not JSON"),
    "comment": ('{"name": "w"} // x', "not JSON: extra data at line 1, column 15"),
    "two values": ("{}{}", "not JSON: extra data"),
    "NaN": ('{"timeout": NaN}', "NaN is no JSON number"),
    "Infinity": ('{"timeout": -Infinity}', "-Infinity is no JSON number"),
    "1e400": ('{"timeout": 1e400}', "the number 1e400 is too large"),
    "digits": ('{"timeout": ' + "1" * 5000 + "}", "has 5000 digits"),
    "depth": ("[" * 10_000 + "]" * 10_000, f"deeper than {MAX_DEPTH}"),
    "depth in an object": ('{"a":' * 500 + "1" + "}" * 500, f"deeper than {MAX_DEPTH}"),
    "unclosed depth": ("[" * 1_000_000, f"deeper than {MAX_DEPTH}"),
    "lone surrogate": ('{"name": "\\ud800"}', "name: the text holds half of a surrogate pair"),
    "lone surrogate in a key": ('{"\\udc00": 1}', "is not text"),
    "surrogate in text": ('{"name": "\udc80"}', "half of a surrogate pair"),
    "duplicate": ('{"name": "a", "name": "b"}', "name: the key stands here twice"),
    "duplicate inside": (
        '{"steps": [{"id": "a", "config": {"x": 1, "x": 2}}]}',
        "steps[0].config.x: the key stands here twice",
    ),
    "array": ("[]", "holds an array where a workflow object should be"),
    "text": ('"x"', 'holds "x" where'),
    "number": ("1", "holds 1 where"),
    "null": ("null", "holds null where"),
    "UTF-16": (json.dumps(BASE).encode("utf-16"), "is not UTF-8 text (byte 0)"),
    "gzip": (gzip.compress(b"{}"), "is not UTF-8 text (byte 1)"),
    "NUL": (b'{"name": "a\x00b"}', "invalid control character at line 1, column 12"),
    "raw newline": ('{"name": "a\nb"}', "invalid control character"),
    "huge": (b"[" + b" " * MAX_BYTES + b"]", f"(max {MAX_BYTES})"),
}


@pytest.mark.parametrize(("text", "part"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_texts_that_are_no_workflow_file(text: str | bytes, part: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_workflow(text)
    assert part in "\n".join(caught.value.problems)
    assert all(len(problem) < 400 and "\n" not in problem for problem in caught.value.problems)


def test_a_byte_order_mark_is_no_fault() -> None:
    assert read_workflow(b"\xef\xbb\xbf" + json.dumps(BASE).encode()).problems == []


def test_numbers_keep_their_digits() -> None:
    tree = parse_document('{"a": 9007199254740993, "b": -0, "c": 0.1}', "file")
    assert tree == {"a": 9007199254740993, "b": 0, "c": 0.1}
    config = read(steps=[BASE["steps"][0] | {"config": {"n": 9007199254740993}}])
    assert bytes(config.definition.steps[0].config) == b'{"n":9007199254740993}'


NAMES = [
    "", "x" * 257, "..", "a\\b", ".", " ", "*", ">", "a\x00b", "a\nb", "a\tb", "a\u202eb",
    "e\u0301", "👩‍🚀", "n\u0430me", "trailing.", "a..b", "$JS", "a b", "<script>", "\x1b[2J",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_problems_everywhere(name: str) -> None:
    document = BASE | {
        "name": name,
        "steps": [{"id": name, "task": "t", "depends_on": [name]}],
        "triggers": [{"id": name, "cron": {"expression": "@daily"}}],
    }
    problems = problems_of(document)
    assert any(problem.startswith("workflow name") for problem in problems)
    assert any(problem.startswith("step ID") for problem in problems)
    assert any(problem.startswith("trigger ID") for problem in problems)
    assert all(problem.isprintable() and len(problem) < 400 for problem in problems)


def test_a_ten_megabyte_name_does_not_come_back() -> None:
    problems = problems_of(BASE | {"name": "x" * 7_000_000})
    assert problems == ("workflow name has 7000000 characters (max 256)",)


GRAPHS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "cycle": (
        [{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}],
        "workflow contains a cycle (0 of 2 steps reachable)",
    ),
    "self edge": ([{"id": "a", "depends_on": ["a"]}], "cycle (0 of 1 steps reachable)"),
    "missing": ([{"id": "x", "depends_on": ["y"]}], 'step "x" depends on non-existent step "y"'),
    "duplicate": ([{"id": "a"}, {"id": "a"}], 'duplicate step ID "a"'),
    "none": ([], 'workflow "w" has no steps'),
}


@pytest.mark.parametrize(("steps", "part"), GRAPHS.values(), ids=GRAPHS.keys())
def test_broken_graphs(steps: list[dict[str, Any]], part: str) -> None:
    document = BASE | {"steps": [{"task": "t"} | each for each in steps]}
    assert any(part in problem for problem in problems_of(document))


def test_one_step_named_as_the_beginning_of_another_is_sound() -> None:
    steps = [{"id": "a", "task": "t"}, {"id": "a.b", "task": "t", "depends_on": ["a"]}]
    assert problems_of(BASE | {"steps": steps}) == ()


def test_triggers_belong_to_their_workflow() -> None:
    triggers = [
        {"id": "a", "workflow_id": "other", "cron": {"expression": "@daily"}},
        {"id": "a", "webhook": {"path": "/hooks/x"}},
        {"id": "c", "webhook": {"path": "/hooks/x"}},
        {"webhook": {"path": "hooks"}},
    ]
    assert [(problem.path, problem.text) for problem in read(triggers=triggers).problems] == [
        ("triggers[0]", 'trigger "a": workflow_id "other" does not match parent workflow "w"'),
        ("triggers[3]", "trigger ID must not be empty"),
        ("triggers[3]", 'trigger "": webhook path must start with /, got "hooks"'),
        ("triggers[1].id", 'duplicate trigger ID "a"'),
        (
            "triggers[2]",
            'route conflict: POST /hooks/x already registered by trigger "a"',
        ),
    ]


def test_the_walker_reads_what_other_decoders_make() -> None:
    assert workflow_of(BASE).definition == read().definition
    with pytest.raises(InvalidError, match="steps: expected an array"):
        workflow_of(BASE | {"steps": "abc"})


def test_ten_thousand_steps() -> None:
    steps = [
        {"id": f"s{n}", "task": "t", "depends_on": [f"s{n - 1}"] if n else []}
        for n in range(10_000)
    ]
    assert len(read(steps=steps).definition.steps) == 10_000


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["30m", "normal", "map", "eq", "input.x", "@daily"])
)


def fields_of(kind: type[Struct], *nested: type[Struct]) -> st.SearchStrategy[Any]:
    """Objects with the right keys and values of any sort."""
    inner = scalars | st.lists(scalars, max_size=2)
    for each in nested:
        inner = inner | st.lists(fields_of(each), max_size=2)
    keys = [field.encode_name for field in struct_info(kind).fields]
    return st.dictionaries(st.sampled_from(keys), inner, max_size=6)


@given(fields_of(WorkflowDocument, StepDef, TriggerDef, CancelOn))
def test_no_document_breaks_the_reader(document: dict[str, Any]) -> None:
    assert all(problems_of(document))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_bytes_break_the_reader(data: bytes | str) -> None:
    # Drawn text may happen to be a document such as `{}`: that one breaks rules instead.
    try:
        problems = read_workflow(data).problems
    except InvalidError:
        return
    assert problems
