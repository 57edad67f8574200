"""``dagnats engine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import out
from dagnats.cli.render.results import show
from dagnats.cli.state import session
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.control import PauseState

app = App("engine", "Hold and resume the dispatch of steps.")

Workflow = Annotated[
    str, typer.Option("--workflow", metavar="ID", help="Only this workflow; default: all.")
]


@app.add("pause")
def pause(workflow: Workflow = "") -> None:
    """Hold dispatch; runs are still accepted, and what runs goes on."""
    run_async(_change(workflow, hold=True))


@app.add("resume")
def resume(workflow: Workflow = "") -> None:
    """Let dispatch go on."""
    run_async(_change(workflow, hold=False))


@app.add("status")
def status() -> None:
    """Show what is held."""
    run_async(_status())


async def _change(workflow: str, *, hold: bool) -> None:
    from dagnats.services import control

    async with session() as opened:
        state = await (control.pause if hold else control.resume)(opened, workflow)
    show(state, lambda: _print_state(state))


async def _status() -> None:
    from dagnats.services.control import paused

    async with session() as opened:
        state = await paused(opened)
    show(state, lambda: _print_state(state))


def _print_state(state: PauseState) -> None:
    out(f"Engine: {'paused' if state.paused else 'running'}")
    for workflow in state.workflows:
        out(f"  {one_line(workflow)} paused")
