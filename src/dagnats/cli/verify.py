"""``dagnats verify``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import err, out
from dagnats.cli.render.results import print_table, show
from dagnats.cli.render.table import Column
from dagnats.cli.texts import json_input
from dagnats.errors import InvalidError, UsageError

if TYPE_CHECKING:
    from dagnats.verify.campaign import Plan
    from dagnats.verify.verdict import FaultRow, StepRow, Verdict

MAX_RUNS = 10_000
MAX_KILLS = 1000

app = App("verify", "Kill processes under a workflow of yours and see what it costs.", group=False)


@app.add("verify")
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Workflow definition JSON file.")],
    worker: Annotated[
        str, typer.Option("--worker", metavar="CMD", help="Command that starts your worker.")
    ],
    input_: Annotated[
        str, typer.Option("--input", metavar="JSON", help="Input of every run, or @FILE.")
    ] = "",
    runs: Annotated[int, typer.Option("--runs", metavar="N", help="Runs to start.")] = 60,
    kills: Annotated[int, typer.Option("--kills", metavar="N", help="Kills under way.")] = 12,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="WHAT", help="Kill only server, worker or nats."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Repeats a campaign.")] = 1,
    timeout: Annotated[
        int, typer.Option("--timeout", metavar="S", help="Seconds until a run counts as stuck.")
    ] = 60,
) -> None:
    """Kill server, worker and NATS under runs on a throw-away server; report what ran twice."""
    for name, value, most in (("runs", runs, MAX_RUNS), ("kills", kills, MAX_KILLS)):
        if not 1 <= value <= most:
            raise UsageError(f"--{name} must be between 1 and {most}, got {value}")
    if timeout < 1:
        raise UsageError(f"--timeout must be at least 1, got {timeout}")
    plan = _plan(file, input_, only or [])
    from msgspec.structs import replace

    plan = replace(plan, runs=runs, kills=kills, seed=seed, patience_s=float(timeout))
    run_async(_verify(plan, _command(worker)))


def _plan(file: str, given: str, only: list[str]) -> Plan:
    from dagnats.services.workflow_files import read_file
    from dagnats.verify.campaign import Plan
    from dagnats.verify.place import Victim

    known = {victim.value: victim for victim in Victim}
    for name in only:
        if name not in known:
            raise UsageError(f'unknown --only "{name}"', f"one of {', '.join(known)}")
    found = read_file(file)
    if found.problems:
        raise InvalidError(f"invalid workflow: {found.problems[0].text}", found.problems[0].hint)
    return Plan(
        definition=found.definition,
        input=json_input(given) if given else None,
        runs=1,
        kills=1,
        victims=tuple(known[name] for name in only) or tuple(Victim),
        seed=1,
        patience_s=1.0,
    )


def _command(worker: str) -> list[str]:
    try:
        words = shlex.split(worker)
    except ValueError as error:
        raise UsageError(f"--worker cannot be read: {error}") from None
    if not words:
        raise UsageError("--worker is empty", "name the command that starts your worker")
    return words


async def _verify(plan: Plan, worker: list[str]) -> None:
    from dagnats.verify.campaign import carry_out
    from dagnats.verify.place import Place

    try:
        with Place(worker) as place:
            verdict = await carry_out(plan, place, err)
    except OSError as error:
        raise InvalidError(f"cannot start {worker[0]}: {error.strerror}") from None
    show(verdict, lambda: _print(verdict))
    if not verdict.held:
        raise typer.Exit(1)


def _print(verdict: Verdict) -> None:
    faults: list[Column[FaultRow]] = [
        Column("KILLED", lambda row: row.victim),
        Column("TIMES", lambda row: str(row.kills)),
        Column("RECOVERY_P50", lambda row: f"{row.recovery_p50_ms:.0f}ms"),
        Column("RECOVERY_MAX", lambda row: f"{row.recovery_max_ms:.0f}ms"),
    ]
    steps: list[Column[StepRow]] = [
        Column("STEP", lambda row: row.step),
        Column("RESULTS", lambda row: str(row.results)),
        Column("EXECUTIONS", lambda row: str(row.executions)),
        Column("REPEATED", lambda row: str(row.repeated)),
        Column("DOUBLED", lambda row: str(row.doubled)),
    ]
    print_table(verdict.faults, faults)
    out()
    print_table(verdict.steps, steps)
    out()
    ended = ", ".join(f"{count} {status}" for status, count in sorted(verdict.statuses.items()))
    out(f"{verdict.runs} runs in {verdict.seconds:g} s: {ended or 'none ended'}")
    out(f"lost {verdict.lost}, stuck {verdict.stuck}, tasks left over {verdict.left_over}")
    if verdict.other_outputs:
        out(f"{verdict.other_outputs} runs have other outputs than the one that nothing disturbed")
    repeated = [row.step for row in verdict.steps if row.repeated]
    if repeated:
        out(f"Ran more than once in one attempt: {', '.join(repeated)}")
        out("Give ctx.idempotency_key to what they call, and its effect happens once.")
