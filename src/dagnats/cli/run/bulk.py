"""``run bulk``, ``cancel-all``, ``retry-all``: one operation on many runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import After, Before, DryRun, span
from dagnats.cli.execute import run_async
from dagnats.cli.outputs import CancelledRuns
from dagnats.cli.render.console import out, warn
from dagnats.cli.render.progress import Bar
from dagnats.cli.render.results import show
from dagnats.cli.run.app import app
from dagnats.cli.state import session
from dagnats.cli.texts import given, json_input, json_lines
from dagnats.errors import UsageError
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.run_bulk import BulkCancelled, BulkQuery, BulkRetried, BulkStarted

Workflow = Annotated[
    str, typer.Option("--workflow", metavar="ID", help="Workflow ID to filter.", show_default=False)
]


@app.add("bulk")
def bulk(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUTS", help="JSON inputs, one per run.")
    ] = None,
    workflow: Workflow = "",
    from_file: Annotated[
        str, typer.Option("--from-file", metavar="PATH", help="JSONL file, one input per line.")
    ] = "",
) -> None:
    """Start several runs of a workflow with different inputs."""
    _needs_workflow(workflow)
    data = [json_input(word, f"input[{index}]") for index, word in enumerate(inputs or ())]
    if from_file:
        data += json_lines(from_file)
    if not data:
        raise UsageError("no inputs: use positional args or --from-file")
    run_async(_bulk(workflow, data))


async def _bulk(workflow: str, data: list[bytes]) -> None:
    from dagnats.cli.reports import StartedRuns
    from dagnats.services.run_bulk import bulk_start

    async with session() as opened:
        with Bar("Starting") as bar:
            done = await bulk_start(opened, workflow, data, bar)
    document = StartedRuns(run_ids=done.run_ids, total=done.total, failed=done.failed)
    show(document, lambda: _print_started(done), name="\n".join(done.run_ids))
    for failure in done.failed:
        warn(f"input[{failure.index}]: {failure.error}")
    if done.failed:
        raise typer.Exit(1)


def _print_started(done: BulkStarted) -> None:
    out(f"Started {len(done.run_ids)} runs:")
    for run_id in done.run_ids:
        out(f"  {run_id}")


@app.add("cancel-all")
def cancel_all(
    workflow: Workflow = "",
    status: Annotated[
        str, typer.Option("--status", help="Only runs that are running, pending, or all of these.")
    ] = "all",
    after: After = "",
    before: Before = "",
    dry_run: DryRun = False,
) -> None:
    """Cancel the live runs of a workflow."""
    run_async(_cancel_all(_query(workflow, after, before, status), dry_run))


async def _cancel_all(query: BulkQuery, dry_run: bool) -> None:
    from dagnats.services.run_bulk import cancel_all

    async with session() as opened:
        with Bar("Cancelling") as bar:
            done = await cancel_all(opened, query, dry_run, bar)
    document = CancelledRuns(
        cancelled=done.cancelled, skipped=done.skipped, total=done.total, dry_run=done.dry_run
    )
    show(document, lambda: _print_cancelled(done), name="\n".join(done.cancelled))


def _print_cancelled(done: BulkCancelled) -> None:
    if done.dry_run:
        out(f"[dry-run] Would cancel {len(done.cancelled)} runs")
        for run_id in done.cancelled:
            out(f"  {run_id}")
        return
    skipped = f" ({len(done.skipped)} skipped, already terminal)" if done.skipped else ""
    out(f"Cancelled {len(done.cancelled)} runs{skipped}")


@app.add("retry-all")
def retry_all(
    workflow: Workflow = "",
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            help="rerun (fresh start, original input) or replay (from the dead-letter queue).",
        ),
    ] = "",
    after: After = "",
    before: Before = "",
    dry_run: DryRun = False,
) -> None:
    """Retry the failed runs of a workflow."""
    query = _query(workflow, after, before)
    if not mode:
        raise UsageError("--mode is required (rerun or replay)")
    if mode not in ("rerun", "replay"):
        raise UsageError(f'--mode must be "rerun" or "replay", not "{mode}"')
    run_async(_retry_all(query, mode, dry_run))


async def _retry_all(query: BulkQuery, mode: str, dry_run: bool) -> None:
    from dagnats.cli.reports import RetriedRuns
    from dagnats.services.run_bulk import retry_all

    async with session() as opened:
        with Bar("Retrying") as bar:
            done = await retry_all(opened, query, mode, dry_run, bar)
    document = RetriedRuns(
        retried=done.retried,
        skipped=done.skipped,
        failed=done.failed,
        total=done.total,
        dry_run=done.dry_run,
    )
    names = "\n".join(run.new_run_id or run.original_run_id for run in done.retried)
    show(document, lambda: _print_retried(done), name=names)
    for failure in done.failed:
        warn(f"{failure.run_id}: {failure.error}")
    if done.failed:
        raise typer.Exit(1)


def _print_retried(done: BulkRetried) -> None:
    skipped = f" ({len(done.skipped)} skipped)" if done.skipped else ""
    verb = "[dry-run] Would retry" if done.dry_run else "Retried"
    out(f"{verb} {len(done.retried)} runs{skipped}")
    for run in done.retried:
        change = f" -> {run.new_run_id}" if run.new_run_id else " (replayed)"
        out(f"  {one_line(run.original_run_id)}{'' if done.dry_run else change}")


def _needs_workflow(workflow: str) -> None:
    if not workflow:
        raise UsageError("--workflow is required", "name the workflow: --workflow=deploy")
    given(workflow, "--workflow")


def _query(workflow: str, after: str, before: str, status: str = "all") -> BulkQuery:
    _needs_workflow(workflow)
    first, last = span(after, before)
    from dagnats.services.run_bulk import BulkQuery

    return BulkQuery(workflow=workflow, status=status, after=first, before=last)
