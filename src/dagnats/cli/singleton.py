"""``dagnats singleton``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.arguments import Watch, Yes
from dagnats.cli.confirm import confirm
from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import out
from dagnats.cli.render.refresh import refreshing
from dagnats.cli.render.results import show, show_list
from dagnats.cli.render.table import Column, short_ids
from dagnats.cli.state import session
from dagnats.cli.texts import given
from dagnats.services.text import one_line

if TYPE_CHECKING:
    from dagnats.services.singletons import SingletonRow

app = App("singleton", "See and release singleton locks.")


@app.add("list")
def list_(
    workflow: Annotated[str, typer.Option("--workflow", help="Only this workflow's.")] = "",
    watch: Watch = False,
) -> None:
    """List singleton locks and the runs that hold them."""
    run_async(_list(workflow, watch))


async def _list(workflow: str, watch: bool) -> None:
    from dagnats.services.singletons import list_singletons

    async with session() as opened:
        await refreshing(lambda: list_singletons(opened, workflow), _print_list, watch)


def _print_list(rows: list[SingletonRow]) -> None:
    shown = short_ids([row.run_id for row in rows])
    columns: list[Column[SingletonRow]] = [
        Column("KEY", lambda row: row.key),
        Column("RUN ID", lambda row: shown[row.run_id]),
    ]
    show_list(rows, columns, name=lambda row: row.key, empty="No active singleton locks.")


@app.add("release")
def release(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the lock.")], yes: Yes = False
) -> None:
    """Break a lock, so that another run may take it."""
    given(key, "key")
    run_async(_release(key, yes))


async def _release(key: str, yes: bool) -> None:
    from dagnats.services.singletons import release_singleton

    async with session() as opened:
        confirm(f"Release singleton lock {one_line(key)}", yes)
        done = await release_singleton(opened, key)
    show(done, lambda: out(f"Released singleton lock: {one_line(done.key)}"), name=done.key)
