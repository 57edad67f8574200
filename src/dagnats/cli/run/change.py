"""``run cancel``, ``retry``, ``rerun``, ``signal``, ``approve``, ``reject``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import (
    Last,
    RunId,
    needs_run,
    shifted,
    the_run,
    the_started_run,
)
from dagnats.cli.execute import run_async
from dagnats.cli.outputs import CancelledRun
from dagnats.cli.render.console import out, warn
from dagnats.cli.render.results import show
from dagnats.cli.run.app import app
from dagnats.cli.state import session
from dagnats.cli.texts import given, json_input
from dagnats.errors import UsageError
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.cli.reports import Plan
    from dagnats.services.run_rerun import RerunPlan

Step = Annotated[str, typer.Argument(metavar="STEP", help="Step ID.", show_default=False)]
Token = Annotated[str, typer.Option("--token-value", help="The approval's own token.")]


@app.add("cancel")
def cancel(run_id: RunId = "", last: Last = False) -> None:
    """Cancel a running or scheduled workflow."""
    needs_run(run_id, last)
    run_async(_cancel(run_id, last))


async def _cancel(ref: str, last: bool) -> None:
    from dagnats.services.runs import cancel_run

    async with session() as opened:
        done = await cancel_run(opened, (await the_run(opened, ref, last)).run_id)
    document = CancelledRun(run_id=done.run_id, cancelled=done.cancelled)
    show(document, lambda: out(f"Cancelled: {done.run_id}"), name=done.run_id)
    if not done.confirmed:
        warn("no engine has acted on it yet; is 'dagnats serve' running?")


@app.add("retry")
def retry(
    run_id: RunId = "",
    payload: Annotated[
        str, typer.Argument(metavar="INPUT", help="JSON input (default: the original).")
    ] = "",
    last: Last = False,
) -> None:
    """Start a new run with the input of an existing one."""
    needs_run(run_id, last)
    ref, words = shifted(run_id, [payload] if payload else [], last)
    if len(words) > 1:
        raise UsageError("with --last only the input is given", "leave the run id out")
    run_async(_retry(ref, last, json_input(words[0]) if words else None))


async def _retry(ref: str, last: bool, data: bytes | None) -> None:
    from dagnats.services.runs import retry_run

    async with session() as opened:
        done = await retry_run(opened, await the_started_run(opened, ref, last), data)
    show(
        done,
        lambda: out(f"Retrying workflow {one_line(done.workflow)}: {done.new_run_id}"),
        name=done.new_run_id,
    )


@app.add("rerun")
def rerun(
    run_id: RunId = "",
    step: Annotated[str, typer.Option("--from", metavar="STEP", help="First step to repeat.")] = "",
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change the input (repeatable)."),
    ] = None,
    payload: Annotated[
        str, typer.Option("--input", metavar="JSON", help="A new input instead of the recorded.")
    ] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would run; start nothing.")
    ] = False,
    last: Last = False,
) -> None:
    """Run again from a step on, with the recorded outputs before it."""
    needs_run(run_id, last)
    given(step, "--from")
    data = json_input(payload) if payload else None
    run_async(_rerun(run_id, last, step, data, tuple(sets or ()), only_plan=plan))


async def _rerun(
    ref: str,
    last: bool,
    step: str,
    data: bytes | None,
    sets: tuple[str, ...],
    *,
    only_plan: bool,
) -> None:
    from dagnats.services.run_rerun import plan_rerun, rerun_from

    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        plan = await plan_rerun(opened, run_id, step, data, sets)
        if only_plan:
            show(_plan_document(plan), lambda: _print_plan(plan), name=run_id)
            return
        done = await rerun_from(opened, plan)
    show(
        done,
        lambda: out(f"Rerunning workflow {one_line(done.workflow)}: {done.new_run_id}"),
        name=done.new_run_id,
    )


def _plan_document(plan: RerunPlan) -> Plan:
    from dagnats.cli.reports import Plan

    return Plan(
        run_id=plan.run_id,
        workflow=plan.workflow,
        step=plan.step,
        reuse=plan.reuse,
        execute=plan.execute,
        input=plan.input,
        changes=plan.changes,
    )


def _print_plan(plan: RerunPlan) -> None:
    from dagnats.cli.render.results import json_text

    out(f"Rerun of {plan.run_id} from {one_line(plan.step)}")
    for what, steps in (("Reuse", plan.reuse), ("Execute", plan.execute)):
        out(f"{what + ':':<9}{', '.join(map(one_line, steps)) or '-'}")
    for change in plan.changes:
        old, new = json_text(change.old), json_text(change.new)
        out(f"Input:   {one_line(change.path)}: {one_line(old, 60)} -> {one_line(new, 60)}")


@app.add("signal")
def signal(
    run_id: RunId = "",
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Signal name.", show_default=False)
    ] = "",
    payload: Annotated[
        str, typer.Argument(metavar="PAYLOAD", help="JSON payload.", show_default=False)
    ] = "",
    last: Last = False,
) -> None:
    """Send a named signal with a JSON payload to a running workflow."""
    words = [word for word in (run_id, name, payload) if word]
    wanted = 2 if last else 3
    if len(words) != wanted:
        form = "--last NAME PAYLOAD" if last else "RUN_ID NAME PAYLOAD"
        raise UsageError(f"{len(words)} arguments where {wanted} are needed", f"give {form}")
    ref = "" if last else words[0]
    run_async(_signal(ref, last, words[-2], json_input(words[-1], "payload")))


async def _signal(ref: str, last: bool, name: str, data: bytes) -> None:
    from dagnats.services.runs import signal_run

    async with session() as opened:
        done = await signal_run(opened, await the_started_run(opened, ref, last), name, data)
    show(done, lambda: out(f"Signal sent: {one_line(done.signal)}"), name=done.run_id)


@app.add("approve")
def approve(
    run_id: RunId = "",
    step: Step = "",
    payload: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="JSON that becomes the step's output.")
    ] = "",
    token: Token = "",
    last: Last = False,
) -> None:
    """Grant the approval that a step waits for."""
    _decide(run_id, step, payload, token, last, granted=True)


@app.add("reject")
def reject(
    run_id: RunId = "",
    step: Step = "",
    payload: Annotated[
        str, typer.Argument(metavar="REASON", help="JSON that is kept with the rejection.")
    ] = "",
    token: Token = "",
    last: Last = False,
) -> None:
    """Reject the approval that a step waits for."""
    _decide(run_id, step, payload, token, last, granted=False)


def _decide(run_id: str, step: str, payload: str, token: str, last: bool, *, granted: bool) -> None:
    ref, words = shifted(run_id, [word for word in (step, payload) if word], last)
    if not words or len(words) > 2 or not (ref or last):
        raise UsageError("a run and a step are needed", "give RUN_ID STEP, or --last STEP")
    data = json_input(words[1], "payload") if len(words) > 1 else None
    run_async(_decided(ref, last, words[0], data, token, granted=granted))


async def _decided(
    ref: str, last: bool, step: str, data: bytes | None, token: str, *, granted: bool
) -> None:
    from dagnats.services import run_steps

    decide = run_steps.approve if granted else run_steps.reject
    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        done = await decide(opened, run_id, step, data, token or None)
    show(
        done,
        lambda: out(f"{done.status.capitalize()}: {one_line(done.step_id)} of {done.run_id}"),
        name=done.run_id,
    )
