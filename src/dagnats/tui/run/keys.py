"""What keys do on the screen of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dagnats.tui.actions import Action
from dagnats.tui.run.doing import change_actions
from dagnats.tui.run.inspector import TABS
from dagnats.tui.run.relations import compare_actions, explain, related_actions

if TYPE_CHECKING:
    from dagnats.tui.run.screen import RunScreen


def run_actions(screen: RunScreen) -> list[Action]:
    """Everything, in the order in which the footer shows it."""
    leave = _leave(screen)
    if not screen.state.live:
        return [*leave, *_travel(screen), *change_actions(screen), *_looking(screen)]
    return [*leave, *change_actions(screen), *_looking(screen), *_travel(screen)]


def _leave(screen: RunScreen) -> list[Action]:
    """Escape leaves what was entered last: a search, a filter, the zoom, the past."""
    ways: list[tuple[bool, str, Callable[[], object]]] = [
        (screen.inspector.hits is not None, "search", lambda: screen.search("")),
        (bool(screen.events.text or screen.events.step), "filter", screen.show_all),
        (bool(screen.zoomed), "zoom", screen.zoom),
        (not screen.state.live, "past", lambda: screen.travel(None)),
    ]
    for entered, what, run in ways:
        if entered:
            title = f"Leave the {what}"
            return [Action(id="run.leave", keys=("escape",), title=title, run=run, group="Go")]
    return []


def _prefix() -> None:
    """A prefix does nothing by itself."""


# --- looking -----------------------------------------------------------------------------------


def _looking(screen: RunScreen) -> list[Action]:
    def see(name: str, key: str, label: str, title: str, run: Callable[[], object]) -> Action:
        return Action(id=f"run.{name}", keys=(key,), label=label, title=title, run=run)

    return [
        Action(
            id="run.compare",
            keys=("d",),
            label="compare",
            title="Compare…",
            run=_prefix,
            choices=lambda: compare_actions(screen),
            off=lambda: "" if screen.state.view else "the run is not read yet",
        ),
        see(
            "why",
            "w",
            "why?",
            "Why it does not go on, and what would help",
            lambda: explain(screen),
        ),
        Action(
            id="run.related",
            keys=("o",),
            label="related",
            title="Go to…",
            run=_prefix,
            choices=lambda: related_actions(screen),
            group="Go",
        ),
        see("tab", "t", "tab", "Next tab of the inspector", screen.turn_tab),
        see("open", "x", "", "Open or close what is below", lambda: _toggle(screen)),
        see("openall", "X", "", "Open the whole document, or close it", screen.inspector.open_all),
        see("ghosts", "b", "", "Show or hide the usual durations", lambda: _ghosts(screen)),
        see("zoom", "z", "", "Give this pane everything, or share", screen.zoom),
        see("only", "f", "", "Only events of this step, or all", lambda: _only(screen)),
        see("next", "n", "", "Next hit in the document, or failed step", lambda: _next(screen, 1)),
        see("prev", "N", "", "Hit or failed step before", lambda: _next(screen, -1)),
        *(
            Action(
                id=f"run.tab.{tab}",
                keys=(),
                title=f"Show the {tab}",
                run=lambda tab=tab: screen.turn_tab(tab),
            )
            for tab in TABS
        ),
    ]


def _toggle(screen: RunScreen) -> None:
    if screen.pane == "inspector":
        screen.inspector.toggle()
    elif screen.row is not None and screen.row.opens:
        screen.toggle_row(screen.row)


def _ghosts(screen: RunScreen) -> None:
    screen.state.ghosts = not screen.state.ghosts
    screen.repaint_all()


def _only(screen: RunScreen) -> None:
    events = screen.events
    events.only(events.text, "" if events.step else screen.step)
    screen.repaint_all()


def _next(screen: RunScreen, step: int) -> None:
    if screen.pane == "inspector" and screen.inspector.doc is not None:
        screen.inspector.next_hit(step)
        return
    rows, at = screen.picture.rows, screen.picture.cursor
    order = range(at + 1, len(rows)) if step > 0 else range(at - 1, -1, -1)
    found = next((index for index in order if rows[index].status == "failed"), None)
    if found is None:
        screen.host.report("no other failed step", "warn")
    else:
        screen.picture.move_to(found)


# --- travelling --------------------------------------------------------------------------------


def _travel(screen: RunScreen) -> list[Action]:
    def go(name: str, key: str, label: str, title: str, run: Callable[[], object]) -> Action:
        return Action(
            id=f"run.{name}",
            keys=(key,),
            label=label,
            title=title,
            run=run,
            off=lambda: _no_past(screen),
            group="Go",
        )

    past = not screen.state.live

    def step(by: int) -> Callable[[], object]:
        return lambda: _step(screen, by)

    def fail(by: int) -> Callable[[], object]:
        return lambda: _failure(screen, by)

    return [
        go("back", "[", "back" if past else "time", "One event back in time", step(-1)),
        go("forward", "]", "forward" if past else "", "One event on", step(1)),
        go("failback", "{", "failure" if past else "", "To the failure before", fail(-1)),
        go("failnext", "}", "", "To the next failure", fail(1)),
        go("first", "(", "", "To the first event", lambda: screen.travel(1)),
        go("live", "\\", "live" if past else "", "Back to now", lambda: screen.travel(None)),
    ]


def _no_past(screen: RunScreen) -> str:
    if screen.reader is not None and screen.reader.no_past:
        return screen.reader.no_past
    return "" if screen.state.history.begun else "the events are not read yet"


def _step(screen: RunScreen, by: int) -> None:
    screen.state.step(by)
    screen.refill()


def _failure(screen: RunScreen, direction: int) -> None:
    if screen.state.failure(direction):
        screen.refill()
    else:
        where = "before" if direction < 0 else "after"
        screen.host.report(f"no failure {where} this moment", "warn")
