"""``dagnats workflow simulate``: play a workflow offline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from dagnats.cli.render.console import out, paint, role_of
from dagnats.cli.render.results import print_table, show
from dagnats.cli.render.table import Column
from dagnats.cli.texts import given, instant, json_input
from dagnats.errors import RunEndedError, UsageError
from dagnats.model.times import parse_duration
from dagnats.services.documents import short_duration
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.timeline import Moment, Row, Simulation

T = TypeVar("T")
BAR = 40
"""Columns of the picture of a step's life."""

_MARK = {"busy": "█", "waiting": "░"}


def simulate(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Workflow definition JSON file; - for standard input.",
            show_default=False,
        ),
    ],
    input_: Annotated[
        str, typer.Option("--input", metavar="JSON", help="The run's input, or @FILE.")
    ] = "",
    fail: Annotated[
        list[str] | None,
        typer.Option(
            "--fail",
            metavar="STEP[=N]",
            help="Let a step fail, always or N times.",
        ),
    ] = None,
    duration: Annotated[
        list[str] | None,
        typer.Option(
            "--duration",
            metavar="STEP=5s",
            help="How long each attempt takes.",
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="STEP=JSON", help="What a step gives, or @FILE."),
    ] = None,
    loops: Annotated[
        list[str] | None,
        typer.Option(
            "--loops", metavar="STEP=N", help="How many more iterations a loop step asks for."
        ),
    ] = None,
    child: Annotated[
        list[str] | None,
        typer.Option("--child", metavar="FILE", help="A workflow that may be started by a step."),
    ] = None,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="When the run starts (cron sleeps).")
    ] = "",
    events: Annotated[bool, typer.Option("--events", help="List every event.")] = False,
) -> None:
    """Play a workflow file offline, in no time; exit code 3 unless it completes."""
    from dagnats.services import simulation
    from dagnats.services.workflow_files import validate_file

    definition = validate_file(given(file, "file")).definition
    scenario = simulation.Scenario(
        input=json_input(input_) if input_ else None,
        failures=_each(fail, "--fail", _times, bare=simulation.ALWAYS),
        durations=_each(duration, "--duration", _span),
        outputs=_each(output, "--output", json_input),
        loops=_each(loops, "--loops", _times),
        begin=instant(at, "--at") or time.time_ns(),
        workflows=[validate_file(path).definition for path in child or ()],
    )
    found = simulation.simulate(definition, scenario)
    show(found, lambda: _print(found, events), name=found.workflow)
    if not found.completed:
        raise typer.Exit(RunEndedError.exit_code)


# --- STEP=VALUE options -----------------------------------------------------------------------


def _each(
    words: list[str] | None, option: str, read: Callable[[str, str], T], bare: T | None = None
) -> dict[str, T]:
    """The values of a repeated STEP=VALUE option; ``bare`` is what STEP alone means."""
    found: dict[str, T] = {}
    for word in words or ():
        step, separator, text = word.partition("=")
        if not step or (not separator and bare is None):
            raise UsageError(f"{option}: {word!r:.80} names no step and value", "write STEP=VALUE")
        if step in found:
            raise UsageError(f"{option}: step {step!r:.80} is named twice")
        found[step] = bare if not separator and bare is not None else read(text, option)
    return found


def _times(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 7):
        raise UsageError(f"{option}: {text!r:.80} is not a whole number", "write STEP=3")
    return int(text)


def _span(text: str, option: str) -> int:
    try:
        length = parse_duration(text, days=True)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", "write it like 30s or 1h30m") from None
    if length < 0:
        raise UsageError(f"{option}: {text!r:.80} is negative")
    return length


# --- for a person -----------------------------------------------------------------------------


def _print(found: Simulation, events: bool) -> None:
    out(f"Workflow: {one_line(found.workflow)} (simulated; nothing was executed)")
    out(f"Status:   {paint(found.status, role_of(found.status))}")
    out(f"Took:     {short_duration(found.took)}")
    if found.error:
        out(f"Error:    {one_line(found.error)}")
    out()
    print_table(found.steps, _columns(found))
    if events:
        out()
        print_table(found.moments, _MOMENTS)


def _columns(found: Simulation) -> list[Column[Row]]:
    return [
        Column("STEP", lambda row: row.step),
        Column("TYPE", lambda row: row.type, wide=True),
        Column("STATUS", lambda row: row.status, status=True),
        Column("BEGAN", lambda row: short_duration(row.begin) if row.began else "-"),
        Column("TOOK", lambda row: short_duration(row.end - row.begin) if row.began else "-"),
        Column("ATTEMPTS", lambda row: str(row.attempts) if row.attempts else "-"),
        Column("ERROR", lambda row: row.error or "-", wide=True, flex=True),
        Column("TIMELINE", lambda row: _bar(row, found.took)),
    ]


def _bar(row: Row, took: int) -> str:
    """A step's life as a bar: what is short is at least one column wide."""
    if not row.began:
        return ""
    cells = ["·"] * BAR
    for span in sorted(row.spans or [row.whole], key=lambda span: span.kind, reverse=True):
        first, last = (min(BAR - 1, at * BAR // max(1, took)) for at in (span.begin, span.end - 1))
        for place in range(first, max(first, last) + 1):
            cells[place] = _MARK[span.kind]
    return "".join(cells)


_MOMENTS: list[Column[Moment]] = [
    Column("AT", lambda moment: short_duration(moment.at)),
    Column("EVENT", lambda moment: moment.type, status=True),
    Column("STEP", lambda moment: moment.step or "-"),
    Column("ATTEMPT", lambda moment: str(moment.attempt) if moment.attempt else "-"),
    Column("RUN", lambda moment: moment.run_id[:8] or "-", wide=True),
]
