"""``dagnats dev``: rebuild and restart a worker project when it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dagnats.cli.development import Loop, find_project
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.state import current, session
from dagnats.cli.texts import whole

app = App("dev", "Rebuild and restart a worker project when it changes.", group=False)

MIN_DELAY = 100


@app.add("dev")
def dev(
    folder: Annotated[
        str, typer.Option("--dir", metavar="DIR", help="Project directory to watch.")
    ] = ".",
    delay: Annotated[
        int,
        typer.Option(
            "--delay", metavar="MS", parser=whole(0), help="Poll interval in ms (minimum: 100)."
        ),
    ] = 500,
) -> None:
    """Watch a Python or Go worker project; restart it on every change.

    A Go project (go.mod) is rebuilt first. What does not compile keeps the old process.
    """
    project = find_project(Path(folder))
    url = run_async(_reachable())
    Loop(project, folder, max(delay, MIN_DELAY) / 1000, url, data=not current().human).run()


async def _reachable() -> str:
    async with session() as opened:
        return opened.url if "server" in current().connect else ""
