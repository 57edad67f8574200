"""The keys of the list of runs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from dagnats.services.address import Address, format_address
from dagnats.services.run_query import get_run
from dagnats.tui import saved
from dagnats.tui.actions import Action
from dagnats.tui.runs import facets
from dagnats.tui.sheets.base import Reading
from dagnats.tui.sheets.prompt import Prompt

if TYPE_CHECKING:
    from dagnats.tui.screens.runs import Runs


def run_list_actions(view: Runs) -> list[Action]:
    """Everything beside moving."""
    return [*_changing(view), *_looking(view), *_filtering(view)]


def _nothing() -> None:
    """A prefix does nothing by itself."""


def _none(view: Runs) -> str:
    return "" if view.row is not None else "there is no run here"


def _changing(view: Runs) -> list[Action]:
    return [
        Action(
            id="runs.retry",
            keys=("r",),
            label="retry",
            title="Start again, or replay what failed…",
            run=_nothing,
            changes=True,
            off=lambda: _none(view),
            choices=lambda: _retries(view),
            group="Do",
        ),
        Action(
            id="runs.cancel",
            keys=("c",),
            label="cancel",
            title="Cancel the marked runs, or the one under the cursor",
            run=lambda: _many(view, "cancel"),
            changes=True,
            off=lambda: _none(view),
            group="Do",
        ),
        Action(
            id="runs.signal",
            keys=("i",),
            title="Send a signal to the run",
            run=lambda: _signal(view),
            changes=True,
            off=lambda: _none(view) or ("it has ended" if view.row and view.row.ended else ""),
            group="Do",
        ),
    ]


def _retries(view: Runs) -> list[Action]:
    return [
        Action(
            id="runs.again",
            keys=("r",),
            label="again, same input",
            title="Start again as new runs",
            run=lambda: _many(view, "retry"),
            changes=True,
        ),
        Action(
            id="runs.replay",
            keys=("p",),
            label="replay from the failed step",
            title="Let failed runs go on at the failed step",
            run=lambda: _many(view, "replay"),
            changes=True,
        ),
        Action(
            id="runs.like",
            keys=("e",),
            label="edited, now or later",
            title="Start a run like this one with another input, now or at a time",
            run=lambda: _like(view),
            changes=True,
        ),
    ]


async def _many(view: Runs, name: str) -> None:
    """Do it; those that were refused stay marked, so that it can be tried again."""
    from dagnats.tui.runs import deeds

    deed = {"cancel": deeds.cancel, "retry": deeds.retry, "replay": deeds.replay}[name]
    outcome = await deed(view.host, view.table.chosen())
    if outcome is not None:
        view.table.marks &= set(outcome.failed)
        view.flush()


async def _signal(view: Runs) -> None:
    from dagnats.tui.runs import deeds

    if view.row is not None:
        await deeds.signal(view.host, view.row)


async def _export(view: Runs) -> None:
    from dagnats.tui.export import export

    await export(view.host, view.table.marked() or list(view.table.rows), "runs")


async def _like(view: Runs) -> None:
    from dagnats.tui.runs import deeds

    row = view.row
    if row is not None:
        found = await get_run(view.host.session, row.run_id)
        await deeds.start_like(view.host, row, bytes(found.run.input))


def _looking(view: Runs) -> list[Action]:
    host = view.host
    return [
        Action(
            id="runs.why",
            keys=("w",),
            label="why?",
            title="Why it does not get on, or why it ended so",
            run=lambda: _why(view),
            off=lambda: _none(view),
        ),
        Action(
            id="runs.compare",
            keys=("d",),
            label="compare" if len(view.table.marks) == 2 else "",
            title="Compare the two marked runs",
            run=lambda: host.go("diff " + " ".join(sorted(view.table.marks))),
            off=lambda: "" if len(view.table.marks) == 2 else "mark two runs first",
        ),
        Action(
            id="runs.logs",
            keys=("o",),
            title="The log of the run",
            run=lambda: host.go(f"logs run:{view.row.run_id}") if view.row else None,
            off=lambda: _none(view),
        ),
        Action(
            id="runs.peek",
            keys=("v",),
            label="" if view.is_wide else "peek",
            title="Show or hide the run under the cursor",
            run=view.toggle_peek,
        ),
        Action(
            id="runs.next_failure",
            keys=("n",),
            title="Next failed run",
            run=lambda: _next_failure(view, 1),
            group="Go",
        ),
        Action(
            id="runs.previous_failure",
            keys=("N",),
            title="Failed run before",
            run=lambda: _next_failure(view, -1),
            group="Go",
        ),
        Action(
            id="runs.export",
            keys=("e",),
            title="Export the marked runs, or the list…",
            run=lambda: _export(view),
        ),
    ]


async def _why(view: Runs) -> None:
    from dagnats.services.run_why import why
    from dagnats.tui.run.relations import reason_lines

    row = view.row
    if row is not None:
        reasons = await why(view.host.session, row.run_id)
        command = f"dagnats run why {row.run_id}"
        title = f"Why is {row.run_id[:8]} ({row.workflow}) {row.state}?"
        await view.host.ask(
            Reading(title, lambda width: reason_lines(reasons, command, width), tall=False)
        )


def _next_failure(view: Runs, step: int) -> None:
    rows, at = view.table.rows, view.table.cursor + step
    while 0 <= at < len(rows):
        if rows[at].status == "failed":
            view.table.move_to(at)
            return
        at += step
    view.host.report("no more failed runs in this direction", "warn")


def _filtering(view: Runs) -> list[Action]:
    host = view.host
    return [
        Action(
            id="runs.facets",
            keys=("f",),
            label="only",
            title="Show only a state or a workflow…",
            run=lambda: _asked(view, facets.choose_facet(host, view.address())),
        ),
        Action(
            id="runs.range",
            keys=("t",),
            title="Show only a time range…",
            run=lambda: _asked(view, facets.choose_range(host, view.address())),
        ),
        Action(
            id="runs.sort",
            keys=("s",),
            label="sort",
            title="Sort by…",
            run=lambda: _asked(view, facets.choose_sort(host, view.address())),
        ),
        Action(
            id="runs.reverse",
            keys=("S",),
            title="Sort the other way round",
            run=lambda: view.apply(facets.reversed_sort(view.address())),
        ),
        Action(
            id="runs.save",
            keys=("F",),
            title="Save this filter under a name",
            run=lambda: _save(view),
        ),
        Action(
            id="runs.saved",
            keys=("'",),
            title="A saved filter…",
            run=lambda: _saved(view),
            group="Go",
        ),
        Action(
            id="runs.all",
            keys=(),
            title="Show all runs",
            run=lambda: host.go("runs"),
            group="Go",
        ),
    ]


async def _asked(view: Runs, question: Awaitable[Address | None]) -> None:
    view.apply(await question)


async def _save(view: Runs) -> None:
    address = format_address(view.address())
    name = await view.host.ask(Prompt("Save this filter as", f":{address}", verb="save"))
    if name and name.strip():
        saved.keep_filter(name.strip(), address)
        view.host.report(f"saved as {name.strip()}; ' shows the saved filters")


async def _saved(view: Runs) -> None:
    address = await facets.choose_saved(view.host)
    if address:
        view.host.go(address)
