"""What keys do on every screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.services.address import format_address
from dagnats.tui import saved
from dagnats.tui.actions import Action, effective, going, key_text
from dagnats.tui.line import Line
from dagnats.tui.screens import ROOTS
from dagnats.tui.sheets.base import Reading
from dagnats.tui.sheets.confirm import Choice
from dagnats.tui.theme import THEMES

if TYPE_CHECKING:
    from dagnats.tui.app import Console
    from dagnats.tui.go import GoLine


def global_actions(app: Console) -> list[Action]:
    """The list, in the order in which the footer shows them."""
    return [
        Action(
            id="app.filter",
            keys=("/",),
            label="filter",
            title="Filter as you type",
            run=app.open_filter,
        ),
        Action(
            id="app.go",
            keys=(":",),
            label="go",
            title="Go to an address, a thing or an action",
            run=lambda: go_line(app).open(""),
            group="Go",
        ),
        Action(
            id="app.copy",
            keys=("y",),
            label="copy",
            title="Copy…",
            run=_nothing,
            choices=lambda: _copies(app),
        ),
        *_movements(app),
        *_tools(app),
        Action(
            id="app.help",
            keys=("?",),
            label="keys",
            title="Keys that work here",
            run=lambda: show_help(app),
        ),
        Action(id="app.quit", keys=("q",), label="quit", title="Quit", run=app.action_leave),
    ]


def _movements(app: Console) -> list[Action]:
    return [
        going(
            "app.palette", "Everything that can be done", lambda: go_line(app).open(">"), "ctrl+p"
        ),
        going("app.escape", "Clear the filter, or close", lambda: _escape(app), "escape"),
        going("app.back", "Back", app.back, "backspace", "h", "left", "<"),
        going("app.forward", "Forward again", lambda: app.navigator.step(1), ">"),
        going("app.swap", "The screen before this one", app.navigator.swap, "-"),
        going("app.pane", "Next pane", app.action_focus_next, "tab"),
        *(
            going(f"app.{e.kind}", f"{e.title}: {e.help}", lambda k=e.kind: app.go(k), e.key)
            for e in ROOTS
        ),
    ]


def _tools(app: Console) -> list[Action]:
    return [
        Action(
            id="app.undo",
            keys=("u",),
            title="Undo what was reported last",
            run=app.take_back,
            off=lambda: "" if app.reports.undo else "there is nothing to undo",
            group="Do",
        ),
        Action(
            id="app.pause",
            keys=("p",),
            title="Hold the picture still, or go on",
            run=lambda: _pause(app),
        ),
        Action(
            id="app.resync",
            keys=("R",),
            title="Read everything anew from the server",
            run=app.feed.resync,
        ),
        Action(
            id="app.notices",
            keys=("!",),
            title="What was reported in this session",
            run=lambda: _notices(app),
        ),
        Action(id="app.theme", keys=("T",), title="Change the theme", run=lambda: _theme(app)),
    ]


def go_line(app: Console) -> GoLine:
    """The go line of the application."""
    from dagnats.tui.go import GoLine

    return app.query_one(GoLine)


def _nothing() -> None:
    """A prefix does nothing by itself."""


def _pause(app: Console) -> None:
    app.paused = not app.paused
    app.refresh_chrome()


def _escape(app: Console) -> None:
    if app.filter_line.display:
        app.close_filter(clear=True)
    elif app.view is not None and app.view.address().text:
        app.view.filter("")
    else:
        app.back()


async def _theme(app: Console) -> None:
    names = [(str(number + 1), name, name) for number, name in enumerate(THEMES)]
    answer = await app.ask(Choice("Theme", names))
    if answer:
        app.use_theme(answer)
        saved.keep_theme(answer)


async def _notices(app: Console) -> None:
    lines = app.reports.lines() or [Line().add("Nothing was reported yet.", "muted")]
    await app.ask(Reading("What was reported in this session", lambda width: lines))


def _copies(app: Console) -> list[Action]:
    view = app.view
    if view is None:
        return []
    address = format_address(view.address())
    items = [(copy.key, copy.what, copy.text) for copy in view.copies()]
    items += [("u", "address", address)]
    if command := view.command():
        items.append(("c", "command", command))
    return [
        Action(
            id=f"copy.{key}",
            keys=(key,),
            label=what,
            title=f"Copy {what}",
            run=lambda text=text, what=what: app.copy(text, what),
        )
        for key, what, text in items
    ]


async def show_help(app: Console) -> None:
    """The keys that work here, by what they are for."""
    actions = effective(app.here())
    lines: list[Line] = []
    for group, title in (("Do", "DO"), ("See", "LOOK"), ("Go", "MOVE")):
        rows = [action for action in actions if action.group == group and action.keys]
        if rows:
            lines.append(Line().add(title, "muted bold"))
            lines += [_help_row(app, action) for action in rows]
            lines.append(Line())
    await app.ask(Reading("Keys that work here", lambda width: lines))


def _help_row(app: Console, action: Action) -> Line:
    keys = " ".join(key_text(key) for key in action.keys)
    row = Line().gap(2).add(keys, "accent bold", width=16).gap().add(action.title, "text")
    reason = app.blocked(action)
    return row.add(f"   {reason}", "warn") if reason else row
