"""``dagnats step``: an operator's hand on one step of a live run."""

from __future__ import annotations

from typing import Annotated

import typer

from dagnats.cli.arguments import Last, Yes, shifted, the_started_run
from dagnats.cli.confirm import confirm
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import out
from dagnats.cli.render.results import show
from dagnats.cli.state import session
from dagnats.cli.texts import given, json_input
from dagnats.errors import UsageError
from dagnats.services.text import one_line

app = App("step", "Change a step of a run by hand; the history keeps who and why.")

RunId = Annotated[
    str, typer.Argument(metavar="RUN_ID", help="Run ID (8+ characters).", show_default=False)
]
Step = Annotated[str, typer.Argument(metavar="STEP", help="Step ID.", show_default=False)]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; kept in the history.", show_default=False)
]


@app.add("complete")
def complete(
    run_id: RunId = "",
    step: Step = "",
    output: Annotated[
        str, typer.Option("--output", metavar="JSON", help="Output of the step.")
    ] = "",
    reason: Reason = "",
    last: Last = False,
    yes: Yes = False,
) -> None:
    """Complete a step by hand, with an output."""
    data = json_input(output, "output") if output else None
    _override(run_id, step, "complete", reason, data, last, yes)


@app.add("fail")
def fail(
    run_id: RunId = "", step: Step = "", reason: Reason = "", last: Last = False, yes: Yes = False
) -> None:
    """Fail a step by hand."""
    _override(run_id, step, "fail", reason, None, last, yes)


@app.add("skip")
def skip(
    run_id: RunId = "", step: Step = "", reason: Reason = "", last: Last = False, yes: Yes = False
) -> None:
    """Skip a step; what depends on it goes on."""
    _override(run_id, step, "skip", reason, None, last, yes)


@app.add("retry")
def retry(
    run_id: RunId = "", step: Step = "", reason: Reason = "", last: Last = False, yes: Yes = False
) -> None:
    """Dispatch a step again, now."""
    _override(run_id, step, "retry", reason, None, last, yes)


@app.add("cancel")
def cancel(
    run_id: RunId = "", step: Step = "", reason: Reason = "", last: Last = False, yes: Yes = False
) -> None:
    """Cancel a step."""
    _override(run_id, step, "cancel", reason, None, last, yes)


def _override(
    run_id: str, step: str, action: str, reason: str, data: bytes | None, last: bool, yes: bool
) -> None:
    ref, words = shifted(run_id, [step] if step else [], last)
    if len(words) != 1 or not (ref or last):
        raise UsageError("a run and a step are needed", "give RUN_ID STEP, or --last STEP")
    if not reason:
        raise UsageError("--reason is required", "say why: it is kept in the run's history")
    given(reason, "--reason")
    run_async(_overridden(ref, last, words[0], action, reason, data, yes))


async def _overridden(
    ref: str, last: bool, step: str, action: str, reason: str, data: bytes | None, yes: bool
) -> None:
    from dagnats.services.run_steps import override_step

    async with session() as opened:
        run_id = await the_started_run(opened, ref, last)
        confirm(f"{action.capitalize()} step {one_line(step)} of run {run_id}", yes)
        done = await override_step(opened, run_id, step, action, reason, data)
    text = f"Step {one_line(done.step_id)} of {done.run_id}: {done.action} ({done.status})"
    show(done, lambda: out(text), name=done.run_id)
