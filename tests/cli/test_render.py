"""Tables, sizes, times, and documents for people."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.cli.render import progress, table
from dagnats.cli.render.live import _cut
from dagnats.cli.render.progress import Bar
from dagnats.cli.render.results import json_text
from dagnats.cli.render.sizes import binary_size, short_size
from dagnats.cli.render.table import Column, render, short_ids
from dagnats.cli.render.times import between, clock, date_time, elapsed
from dagnats.cli.state import begin
from dagnats.errors import UsageError
from dagnats.model.codec import encode, raw
from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.times import HOUR, MILLISECOND, MINUTE, SECOND, parse_duration
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.services.documents import document, short_duration
from tests.cli.conftest import World
from tests.cli.test_hostile import CONTROLS

COLUMNS: list[Column[tuple[str, str, str]]] = [
    Column("ID", lambda row: row[0]),
    Column("ERROR", lambda row: row[1], flex=True),
    Column("LAST", lambda row: row[2]),
]


def test_tables_are_plain_columns() -> None:
    lines = render([("a1b2c3d4", "no", "x"), ("e5", "longer", "yy")], COLUMNS)
    assert lines == [
        "ID        ERROR   LAST",
        "a1b2c3d4  no      x",
        "e5        longer  yy",
    ]


def test_only_flexible_columns_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "width", lambda: 40)
    lines = render([("a" * 16, "e" * 50, "z")], COLUMNS)
    assert lines[1] == "a" * 16 + "  " + "e" * 15 + "…" + "  z"
    monkeypatch.setattr(table, "width", lambda: 20)
    assert render([("a" * 16, "e" * 50, "z")], COLUMNS)[1].startswith("a" * 16 + "  eeeeeeeeeee…")


def test_short_ids_stay_unambiguous() -> None:
    assert short_ids(["a" * 32]) == {"a" * 32: "a" * 8}
    one, two = "a" * 31 + "b", "a" * 31 + "c"
    assert set(short_ids([one, two]).values()) == {one, two}


def test_sizes_and_times() -> None:
    assert [binary_size(n) for n in (0, 1023, 1229, 12897485)] == [
        *("0 B", "1023 B", "1.2 KiB", "12.3 MiB")
    ]
    assert short_size(1536) == "1.5 KB"
    assert date_time("2025-01-15T10:00:00.5+01:00") == "2025-01-15 09:00:00"
    assert (clock("2025-01-15T09:15:30Z"), clock(""), date_time("0001-01-01T00:00:00Z")) == (
        *("09:15:30", "-", "-"),
    )
    assert between("2025-01-15T09:00:00Z", "2025-01-15T09:00:02.5Z", 0) == "2.5s"
    assert (elapsed(1), elapsed(1_500_000), elapsed(12_345 * MILLISECOND)) == (
        *("<1ms", "1ms", "12.3s"),
    )


@given(st.integers(min_value=0, max_value=1000 * HOUR))
def test_short_durations_mean_the_same(nanoseconds: int) -> None:
    assert parse_duration(short_duration(nanoseconds)) == nanoseconds


def test_durations_and_outputs_in_documents() -> None:
    assert [short_duration(n) for n in (30 * MINUTE, HOUR, 90 * SECOND, 0)] == [
        *("30m", "1h", "1m30s", "0s")
    ]
    nap = StepDef(id="nap", type="sleep", config=raw({"duration": HOUR}), timeout=SECOND)
    shown = json.loads(json_text(WorkflowDef(name="w", steps=[nap], timeout=30 * MINUTE)))
    assert shown["timeout"] == "30m"
    assert shown["steps"][0]["config"] == {"duration": "1h"}
    assert shown["steps"][0]["timeout"] == "1s"
    states = {
        "json": StepState(output=b'{"big": 12345678901234567890, "e": 1e300}'),
        "text": StepState(output=b"plain \x1b text"),
        "secret": StepState(dispatch_nonce="hush"),
    }
    text = json_text(WorkflowRun(run_id="r", steps=states))
    assert '"output":{"big":12345678901234567890,"e":1e300}' in text
    assert "plain \\u001b text" in text
    assert "hush" not in text
    assert "input" not in json.loads(text)


def test_documents_hold_what_the_wire_holds() -> None:
    run = WorkflowRun(run_id="r", steps={"a": StepState(attempts=2)}, input=raw([1, {"b": None}]))
    assert document(run).keys() == json.loads(encode(run)).keys()


@given(st.text())
def test_json_is_safe_and_faithful(text: str) -> None:
    shown = json_text({"text": text})
    assert json.loads(shown) == {"text": text}
    assert not CONTROLS.search(shown)
    assert "\n" not in shown


@given(st.text(alphabet="ab\x1b[31m", max_size=60), st.integers(min_value=2, max_value=30))
def test_cut_lines_fit(line: str, columns: int) -> None:
    shown = _cut(f"\x1b[32m{line.replace(chr(27), '')}\x1b[0m", columns)
    assert len(shown.replace("\x1b[32m", "").replace("\x1b[0m", "")) <= columns


@pytest.mark.parametrize(
    ("given_json", "code"),
    [
        ('{"a":1,"a":2}', 0),
        ("9007199254740993", 0),
        ("-0", 0),
        ('"\\ud83d\\ude00"', 0),
        ("null", 0),
        ("Infinity", 1),
        ("[" * 10_000, 1),
        ('{"a":1} x', 1),
        ("// c\n{}", 1),
        ("", 1),
    ],
)
def test_strange_json(world: World, workflow: object, given_json: str, code: int) -> None:
    name = workflow("strange")  # type: ignore[operator]
    done = world("run", "start", name, "--", given_json)
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert "internal error" not in done.err


def test_large_inputs_are_refused_with_their_limit(world: World, workflow: object) -> None:
    name = workflow("large")  # type: ignore[operator]
    assert world("run", "start", name, "-", stdin=b'"' + b"x" * 2_000_000 + b'"').code == 0
    done = world("run", "start", name, "-", stdin=b'"' + b"x" * 9_000_000 + b'"')
    assert done.code == 1
    assert "larger than 8388608 bytes" in done.err


def test_a_command_without_names_says_so(world: World) -> None:
    done = world("status", "-o", "name")
    assert done.code == UsageError.exit_code
    assert "no names" in done.err


class Screen(io.StringIO):
    """A terminal, or something that only looks like a file."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE_S", "REDRAW_S"):
        monkeypatch.setattr(progress, name, 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("hasty")
def test_a_bar_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    begin()
    monkeypatch.setattr("sys.stderr", screen := Screen(terminal=True))
    with Bar("Cancelling") as bar:
        bar(500, 2000)
        bar(2000, 2000)
        bar(0, 0)
    first, last, gone = screen.getvalue().split(progress.ERASE)[1:]
    assert first == "Cancelling " + "█" * 7 + "░" * 23 + " 500 of 2,000"
    assert last.endswith(" 2,000 of 2,000")
    assert gone == ""


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("terminal", "form"), [(False, "table"), (True, "json")])
def test_no_bar_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, form: str
) -> None:
    begin().format = form
    monkeypatch.setattr("sys.stderr", screen := Screen(terminal=terminal))
    with Bar("Cancelling") as bar:
        bar(1, 2)
    assert screen.getvalue() == ""


def test_no_bar_for_quick_work(monkeypatch: pytest.MonkeyPatch) -> None:
    begin()
    monkeypatch.setattr("sys.stderr", screen := Screen(terminal=True))
    with Bar("Cancelling") as bar:
        bar(1, 2)
    assert screen.getvalue() == ""
