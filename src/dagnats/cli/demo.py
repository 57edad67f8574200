"""``dagnats demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from dagnats.cli.options import App
from dagnats.cli.state import current
from dagnats.errors import UsageError

app = App("demo", "Show dagnats at work on a private server.", group=False)


@app.add("demo")
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running until Ctrl+C.")
    ] = False,
) -> None:
    """Run a code review and four small workflows on a private server, and watch them.

    Nothing is left behind: the server, its workers and its data are removed at the end.
    """
    if not (current().human or current().json):
        raise UsageError("the demo prints tables or JSON", "leave out -o, or use --json")
    from dagnats.demo import run_demo

    raise typer.Exit(run_demo(keep=keep, as_json=current().json))
