"""Text from strangers never reaches a terminal as raw control bytes, in whatever command."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import HOSTILE, World, step
from tests.cli.runner import Result
from tests.cli.test_dispatch import in_terminal

Make = Callable[..., str]
# What our own commands may send: newlines, and codes for colour, cursor and screen.
OURS = re.compile(rb"\x1b\[(?:[0-9;]*m|[0-9]*[AKJH]|\?(?:25|1049)[hl])|(?<=A)\r|\r?\n")
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(data: bytes | str) -> None:
    text = OURS.sub(b"", data if isinstance(data, bytes) else data.encode()).decode()
    found = CONTROLS.search(text)
    assert not found, text[max(found.start() - 60, 0) : found.end() + 60]


@pytest.fixture
def hostile_run(world: World, workflow: Make) -> str:
    """A run whose input, output, error, event and dead letter hold what terminals act upon."""
    name = workflow("hostile", step("good", task="hostile"), step("bad", task="hostile"))
    done = world("run", "start", name, json.dumps("fail"), "--watch")
    assert done.code == 3
    return done.lines[0].removeprefix("Started: ")


COMMANDS = (
    "run status {run}",
    "run show {run}",
    "run inspect {run}",
    "run events {run} --full",
    "run events {run}",
    "run watch {run}",
    "run why {run}",
    "run list",
    "run list -o wide",
    "dlq list",
    "dlq list -o wide",
    "status --detail",
    "workers list -o wide",
    "logs --tail=50",
)


@pytest.mark.parametrize("form", ["", "--json", "-o yaml"])
def test_in_a_pipe(world: World, hostile_run: str, form: str) -> None:
    for line in COMMANDS:
        if (form == "-o yaml" and line.startswith(("run watch", "logs"))) or (
            "wide" in line and form
        ):
            continue
        done: Result = world(*line.format(run=hostile_run).split(), *form.split())
        assert done.code in (0, 3), (line, done.err)
        clean(done.out)
        clean(done.err)


def test_json_keeps_the_text(world: World, hostile_run: str) -> None:
    shown = world("run", "status", hostile_run, "--json").json
    assert HOSTILE in shown["steps"]["good"]["error"]


def test_on_a_terminal(world: World, hostile_run: str) -> None:
    env = {"DAGNATS_NATS_URL": world.url, "TERM": "xterm-256color", "NO_COLOR": ""}
    for line in ("run inspect {run}", "run watch {run}", "dlq list", "run events {run} --full"):
        code, seen = in_terminal(*line.format(run=hostile_run).split(), env=env)
        assert code in (0, 3), seen
        assert b"]0;owne" in seen or line.startswith("run watch")
        clean(seen)


def test_what_the_user_typed_is_not_trusted_either(world: World) -> None:
    evil = "x\x1b]0;owned\x07\u202e"
    for words in (
        (evil,),
        ("run", evil),
        ("run", "status", evil),
        ("run", "list", f"--{evil}"),
        ("run", "list", f"--status={evil}"),
        ("run", "start", evil),
        ("run", "start", "w", evil),
        ("workflow", "show", evil),
        ("workflow", "validate", evil),
        ("trigger", "test", evil),
        ("trigger", "test", "* * * * *", f"--tz={evil}"),
        ("trigger", "update", evil, "--cron=* * * * *"),
        ("workers", "show", evil),
        ("dlq", "replay", evil),
        ("init", evil),
        ("init", "workflow", evil),
        ("event", "publish", evil, "{}"),
        ("logs", f"--service={evil}"),
        ("run", "list", "--context", evil),
    ):
        done = world(*words)
        assert done.code in (1, 2), words
        assert "Traceback" not in done.err
        clean(done.out + done.err)


@pytest.mark.parametrize(
    "name",
    [
        *("", "x" * 257, "..", "a/b", "a\\b", ".", "-rf", "a b", "*", ">", "a.b", "a\nb", "a\tb"),
        *("\u202e", "é", "e\u0301", "👩\u200d🚀", "\u0430dmin", "NUL", "con", "dot.", "-a", "a-"),
    ],
)
def test_bad_names_leave_nothing_behind(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, world: World, name: str
) -> None:
    monkeypatch.chdir(str(tmp_path))
    for words in (["init", "--", name], ["init", "workflow", "--", name]):
        done = world(*words)
        assert done.code in (1, 2), words
        assert "Traceback" not in done.err
        assert list(Path().iterdir()) == []
    assert world("run", "start", "--", name).code in (1, 2)
    assert world("workflow", "show", "--", name).code in (1, 2)


def test_the_live_picture(world: World, workflow: Make) -> None:
    name = workflow("live", step("one"), step("two", "one"), step("three", "two", task="hostile"))
    env = {"DAGNATS_NATS_URL": world.url, "TERM": "xterm-256color", "NO_COLOR": ""}
    begun = time.monotonic()
    code, seen = in_terminal("run", "start", name, '"x"', "--watch", env=env)
    assert code == 0
    assert time.monotonic() - begun < 10
    clean(seen)
    text = OURS.sub(b"\n", seen).decode()
    assert "✓" in text
    assert re.search(r"three\s+completed", text)
    assert "Run" in text
    plain = {**env, "NO_COLOR": "1"}
    code, seen = in_terminal("run", "start", name, '"x"', "--watch", env=plain)
    assert (code, b"\x1b" in seen) == (0, False)
    assert b"step.completed" in seen


def test_a_narrow_terminal(world: World, hostile_run: str) -> None:
    env = {"DAGNATS_NATS_URL": world.url, "TERM": "xterm", "COLUMNS": "40"}
    _, seen = in_terminal("dlq", "list", env=env)
    assert hostile_run[:8].encode() in seen
    assert "…".encode() in seen


WHOLE = ("run output {run}", "run events {run} --full")
"""Commands that print everything there is when asked."""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 1_000_000, id="a megabyte on a line"),
        pytest.param("\\u001b[31m" * 20_000, id="escapes"),
        pytest.param("\\u202e" * 1000, id="directions"),
    ],
)
def test_much_and_broken_text(world: World, workflow: Make, text: str) -> None:
    name = workflow("much", step("good"), step("bad", "good", task="fail"))
    done = world("run", "start", name, "-", "--watch", stdin=f'"{text}"')
    assert done.code == 3, done.err
    run_id = done.lines[0].removeprefix("Started: ")
    for line in (*COMMANDS, *WHOLE):
        shown = world(*line.format(run=run_id).split())
        assert shown.code in (0, 1, 3), (line, shown.err)
        clean(shown.out)
        clean(shown.err)
        if line not in WHOLE:
            assert max(map(len, shown.out.splitlines()), default=0) < 25_000, line
    clean(world("run", "inspect", run_id, "--json").out)


def test_broken_text_is_refused(world: World, workflow: Make) -> None:
    name = workflow("broken")
    for text in ('"\\ud800"', '"\\udfff\\ud800"', b'"\xff"', b'"\xed\xa0\x80"'):
        done = world("run", "start", name, "-", stdin=text)
        assert (done.code, done.out) == (1, ""), text
        assert done.err.startswith("Error: input is not JSON: ")
        clean(done.err)
