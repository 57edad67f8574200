"""``dagnats doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.confirm import confirm
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import err, out
from dagnats.cli.render.results import show
from dagnats.cli.state import offline, session
from dagnats.errors import UsageError
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.doctor.findings import Finding, Report

MARKS = {"error": "✗", "warning": "!", "note": "·"}

app = App("doctor", "Check the deployment and what is kept of the runs.", group=False)


@app.add("doctor")
def doctor(
    runs: Annotated[
        int, typer.Option("--runs", metavar="N", help="How many runs to examine; 0: all.")
    ] = 1000,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what follows from the history.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without being asked.")] = False,
) -> None:
    """Look for lost data, tasks and timers, wrong snapshots, weak settings."""
    if runs < 0:
        raise UsageError(f"--runs must not be negative, got {runs}", "0 examines all runs")
    run_async(_doctor(runs or None, repair=repair, yes=yes))


async def _doctor(limit: int | None, *, repair: bool, yes: bool) -> None:
    from dagnats.services.doctor.repair import apply
    from dagnats.services.doctor.visit import AT_REST, LIVE, examine

    checks = AT_REST if offline() else LIVE
    async with session() as opened:
        report = await examine(opened, limit, checks=checks)
        repairs = list(dict.fromkeys(f.repair for f in report.findings if f.repair))
        if repair and repairs:
            for each in repairs:
                err(each.plan)
            confirm(f"do these {len(repairs)} repairs", yes)
            for each in repairs:
                await apply(opened, each)
            report = await examine(opened, limit, checks=checks)
    show(report, lambda: _print(report))
    if not report.healthy:
        raise typer.Exit(1)


def _print(report: Report) -> None:
    for check in report.checks:
        found = [finding for finding in report.findings if finding.check == check.name]
        about = f" ({check.looked_at})" if check.looked_at else ""
        out(f"{check.name}{about}: {'ok' if not found else ''}".rstrip())
        for finding in found:
            _print_finding(finding)


def _print_finding(finding: Finding) -> None:
    out(f"  {MARKS[finding.severity]} {finding.subject}: {one_line(finding.problem)}")
    if finding.advice:
        out(f"      {one_line(finding.advice)}")
    if finding.repair is not None:
        out(f"      --repair would {one_line(finding.repair.plan)}")
