"""``dagnats logs``: the telemetry log stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.execute import run_async, until_interrupted
from dagnats.cli.options import App
from dagnats.cli.render.console import err, paint, role_of
from dagnats.cli.render.results import emit
from dagnats.cli.render.times import clock
from dagnats.cli.state import current, session
from dagnats.cli.texts import moment_or_age, whole
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.model.records import LogRecord
    from dagnats.services.logs import LogQuery

app = App("logs", "Tail or search the log stream.", group=False)

LINE_LIMIT = 4_000
"""Characters of a record's text that are shown on its line."""


@app.add("logs")
def logs(
    level: Annotated[
        str, typer.Option("--level", help="Filter by log level (ERROR, WARN, INFO, DEBUG).")
    ] = "",
    service: Annotated[str, typer.Option("--service", help="Filter by service name.")] = "",
    run: Annotated[
        str, typer.Option("--run", metavar="RUN_ID", help="Only records about this run.")
    ] = "",
    search: Annotated[
        str, typer.Option("--search", metavar="TEXT", help="Only records that hold this text.")
    ] = "",
    since: Annotated[
        str,
        typer.Option("--since", metavar="AGE|TIME", help="Show what was logged since; exit."),
    ] = "",
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail",
            metavar="N",
            parser=whole(1, 10_000),
            help="Show the last N messages and exit (max: 10000).",
        ),
    ] = None,
) -> None:
    """Follow the log stream until interrupted, or show its end and exit."""
    from dagnats.services.logs import LogQuery, logs_subject

    first = moment_or_age(since, "--since", time.time_ns()) if since else None
    query = LogQuery(level=level, service=service, run=run, search=search, since=first)
    subject = logs_subject(query)
    if tail is not None or since:
        run_async(_tail(query, 10_000 if tail is None else tail))
    else:
        until_interrupted(_follow(query, subject))


async def _tail(query: LogQuery, count: int) -> None:
    from dagnats.services.logs import search_logs, tail_logs

    async with session() as opened:
        if query.since is None:
            found = await tail_logs(opened, query, count)
        else:
            found = await search_logs(opened, query, count)
    for record in found:
        _print_record(record)


async def _follow(query: LogQuery, subject: str) -> None:
    from dagnats.services.logs import follow_logs

    async with session() as opened:
        if current().human:
            err(f"Tailing logs on {one_line(subject_as_asked(subject))} ...")
        async for record in follow_logs(opened, query):
            _print_record(record)


def subject_as_asked(subject: str) -> str:
    """The subject with its level in capitals, as the user writes levels."""
    head, _, level = subject.rpartition(".")
    return subject if level == ">" else f"{head}.{level.upper()}"


def _print_record(record: LogRecord) -> None:
    emit(record, lambda: log_line(record))


def log_line(record: LogRecord) -> str:
    """``HH:MM:SS LEVEL   service  body [key=value …]``."""
    level = one_line(record.severity.upper(), 7)
    line = f"{clock(record.timestamp)} {paint(level, role_of(level))}{' ' * (7 - len(level))} "
    line += f"{one_line(record.service_name, 100)}  {one_line(record.body, LINE_LIMIT)}"
    pairs = " ".join(f"{key}={value}" for key, value in sorted(record.attributes.items()))
    return f"{line} [{one_line(pairs, LINE_LIMIT)}]" if pairs else line
