"""The console: frame, navigation, dispatch of keys. What it shows is in the screens."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, TypeVar, cast

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.screen import Screen
from textual.widgets import Input, TextArea

from dagnats.errors import DagnatsError, UnreachableError, UsageError
from dagnats.model.times import SECOND
from dagnats.services.address import Address, parse_address
from dagnats.services.contexts import ConnectSettings, resolve
from dagnats.services.session import Session
from dagnats.tui import clipboard, saved
from dagnats.tui.actions import Action, by_key, effective
from dagnats.tui.chrome import (
    Chrome,
    address_line,
    banner_line,
    choices_line,
    footer_line,
    header_line,
)
from dagnats.tui.feed.feed import Feed
from dagnats.tui.filterline import FilterLine
from dagnats.tui.global_keys import global_actions
from dagnats.tui.go import GoLine
from dagnats.tui.host import Undo
from dagnats.tui.line import Line
from dagnats.tui.nav import Navigator
from dagnats.tui.reports import Reports
from dagnats.tui.sheets.base import Sheet
from dagnats.tui.theme import DEFAULT, THEMES, Look, textual_theme
from dagnats.tui.view import View
from dagnats.tui.widgets.canvas import Canvas

T = TypeVar("T")

FRAME_S = 0.1
"""Seconds between two frames at least: what happens in between is shown together."""


TYPING_ESCAPES = frozenset({"escape", "ctrl+g", "ctrl+o"})
"""Keys that act even while text is typed."""


class Main(Screen[None], inherit_bindings=False):
    """The one screen; dialogs lie over it."""

    BINDINGS = [
        Binding("tab", "app.focus_next", show=False),
        Binding("shift+tab", "app.focus_previous", show=False),
    ]


class Console(App[int], inherit_bindings=False):
    """The application.

    Args:
        feed: live data.
        start: the first address.
        theme: one of :data:`dagnats.tui.theme.THEMES`.
        ascii_only: seven-bit glyphs.
        read_only: why nothing may be changed; empty when it may.
        options: the options that reach the same server from a shell, for copied commands.
    """

    CSS = """
    Main { background: $background; layers: base over; }
    #header, #banner, #line, #address, #footer { height: 1; width: 1fr; }
    #line.-filtering #address { width: 34; }
    #banner { display: none; }
    #body { height: 1fr; width: 1fr; background: $background; }
    Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
    TextArea, TextArea:focus { border: none; padding: 0; background: $surface; }
    """
    BINDINGS = [Binding("ctrl+c", "leave", show=False, priority=True)]
    ENABLE_COMMAND_PALETTE = False
    TITLE = "dagnats"

    def __init__(
        self,
        feed: Feed,
        start: str = "home",
        *,
        theme: str = "",
        ascii_only: bool = False,
        read_only: str = "",
        options: str = "",
    ) -> None:
        chosen = theme or default_theme(os.environ)
        super().__init__(ansi_color=THEMES.get(chosen, THEMES[DEFAULT]).ansi)
        self.look = Look(chosen, ascii_only)
        self.feed = feed
        self.read_only = read_only
        self.options = options
        self.navigator = Navigator(self)
        self.pending: Action | None = None
        self.paused = False
        self.reports = Reports()
        self._start = start
        self._seen = -1
        self._second = 0
        for name in THEMES:
            self.register_theme(textual_theme(name))
        self.theme = self.look.theme

    # Life

    def get_default_screen(self) -> Screen[Any]:
        """Our own screen, whose only bindings are those for tab."""
        return Main()

    def compose(self) -> ComposeResult:
        """Frame and body."""
        yield Chrome(self._header, id="header")
        yield Chrome(self._banner, id="banner")
        yield Container(id="body")
        with Horizontal(id="line"):
            yield FilterLine(id="filter")
            yield Chrome(self._address, id="address")
        yield Chrome(self._footer, id="footer")
        yield GoLine(id="go")

    def on_mount(self) -> None:
        """Show the first screen, then connect."""
        self.feed.on_link = self._link_changed
        self.feed.on_failure = self.fail
        self.feed.start()
        self.go(self._start)
        self.set_interval(FRAME_S, self._frame)

    async def on_unmount(self) -> None:
        """Disconnect."""
        await self.feed.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Every view learns how much room there is."""
        for view in self.query(View):
            view.fit(event.size)

    def action_leave(self) -> None:
        """Quit at once."""
        self.exit(0)

    def fail(self, error: BaseException) -> None:
        """Something of ours is broken: leave, and show the traceback."""
        if isinstance(error, DagnatsError):
            self.report(error.message, "bad")
            return
        self._handle_exception(cast("Exception", error))

    @property
    def session(self) -> Session:
        """The connection.

        Raises:
            UnreachableError: there is none now.
        """
        return self.feed.session

    def now(self) -> int:
        """The time, ns since 1970."""
        return self.feed.now()

    # Frames

    @property
    def view(self) -> View | None:
        """The screen that is shown, once it is there."""
        view = self.navigator.view
        return view if view is not None and view.arrived and view.is_whole else None

    def _frame(self) -> None:
        """Hand what changed to the view, once for all that happened since the last time."""
        second = self.now() // SECOND
        fresh, later = self.feed.version != self._seen, second != self._second
        if not (fresh or later) or (self.paused and self.feed.link.up):
            return
        self._second = second
        view = self.view
        if fresh and view is not None:
            self._seen = self.feed.version
            view.flush()
        elif later and view is not None:
            view.tick()
        if later or fresh:
            self.refresh_chrome()

    def _link_changed(self) -> None:
        if not self.is_running:
            return
        stale = self.feed.link.state == "offline"
        if stale != self.look.stale:
            self.look.mark_stale(stale)
            self.restyle()
        self.refresh_chrome()

    def refresh_chrome(self) -> None:
        """Repaint the frame."""
        if not self.is_running:
            return
        main = self.screen_stack[0]
        banner = main.query_one("#banner", Chrome)
        wanted = banner_line(self.feed, self.look) is not None
        if banner.display != wanted:
            banner.display = wanted
        for pane in main.query(Chrome):
            pane.repaint()

    # The frame's lines

    def _header(self, width: int) -> list[Line]:
        return [header_line(self.feed, self.look, width, self.navigator.root)]

    def _banner(self, width: int) -> list[Line]:
        row = banner_line(self.feed, self.look)
        return [row.clip(width)] if row else []

    def _address(self, width: int) -> list[Line]:
        return [address_line(self, self.reports.line(self.now()), width)]

    def _footer(self, width: int) -> list[Line]:
        if self.pending is not None and self.pending.choices is not None:
            return [choices_line(self.pending.title, self.pending.choices(), width)]
        if isinstance(self.screen, Sheet):
            return []  # The dialog shows its own keys.
        return [footer_line(self.here(), width, self.blocked)]

    # Navigation

    def go(self, address: str | Address) -> None:
        """Show another screen, and remember this one."""
        try:
            wanted = parse_address(address) if isinstance(address, str) else address
            if wanted.kind == "ctx":
                self.in_background(self._switch(" ".join(wanted.ids)))
            else:
                self.navigator.go(wanted)
        except DagnatsError as error:
            self.report(f"{error.message}{f': {error.hint}' if error.hint else ''}", "bad")

    async def _switch(self, context: str) -> None:
        """Go to another server, named by a context of the ``nats`` tool or by its address."""
        if not context:
            raise UsageError("no context given", "such as :ctx staging; tab completes")
        settings = ConnectSettings(server=context) if "://" in context else None
        settings = settings or ConnectSettings(context=context)
        resolve(settings)
        await self.feed.switch(settings)
        self.navigator.forget()
        self.go("home")

    def back(self) -> None:
        """Return to the place before."""
        self.navigator.step(-1)

    # Actions

    def here(self) -> list[Action]:
        """Everything keys do now, in order of precedence."""
        found: list[Action] = []
        pane = self.focused
        if isinstance(pane, Canvas):
            found += pane.actions()
        if isinstance(self.screen, Sheet):
            return [*found, *cast("Sheet[Any]", self.screen).actions()]
        if self.view is not None:
            # What the screen offers is more than the movements of its list.
            found = [*[a for a in found if a.label], *self.view.actions(), *found]
        return [*found, *global_actions(self)]

    def extra_actions(self) -> Iterable[Action]:
        """Everything the palette offers: what keys do here, and every screen."""
        return effective(self.here())

    def blocked(self, action: Action) -> str:
        """Why an action cannot be done now; empty when it can."""
        reason = action.off()
        if reason or not action.changes:
            return reason
        if self.read_only:
            return self.read_only
        return "" if self.feed.link.up else "the connection is lost"

    def act(self, action: Action) -> None:
        """Do it, or say why not."""
        reason = self.blocked(action)
        if reason:
            self.report(f"{action.title}: {reason}", "warn")
            return
        if action.choices is not None:
            self.pending = action
            self.refresh_chrome()
            return
        result = action.run()
        if inspect.isawaitable(result):
            self.in_background(result, action.id)

    def act_by_id(self, action_id: str) -> None:
        """Do the action of that name, if it exists here."""
        if action_id.startswith("go:"):
            self.go(action_id[3:])
            return
        choices = self.pending.choices() if self.pending and self.pending.choices else []
        for action in [*choices, *self.here()]:
            if action.id == action_id:
                self.pending = None
                self.act(action)
                return

    def in_background(self, work: Awaitable[object], name: str = "") -> None:
        """Run something that reports its own end; an error of ours becomes a report."""
        self.run_worker(self._guarded(work), name=name, exit_on_error=True)

    async def _guarded(self, work: Awaitable[object]) -> None:
        try:
            await work
        except UnreachableError as error:
            self.report(error.message, "bad")
        except DagnatsError as error:
            self.report(f"{error.message}{f' ({error.hint})' if error.hint else ''}", "bad")

    async def ask(self, sheet: Sheet[T]) -> T | None:
        """Show a dialog and wait for its answer; ``None``: it was cancelled."""
        return await self.push_screen_wait(sheet)

    # Keys

    async def on_key(self, event: events.Key) -> None:
        """Dispatch a key that no input wanted."""
        key = event.character if event.is_printable and event.character != " " else event.key
        key = key or event.key
        if self.pending is None and self._typed(key):
            return  # Textual's own bindings have it: moving the focus, editing text.
        event.stop()
        event.prevent_default()
        pending, self.pending = self.pending, None
        if pending is not None and pending.choices is not None:
            self._chosen(pending.choices(), key)
            return
        action = by_key(self.here()).get(key)
        if action is not None:
            self.act(action)

    def _typed(self, key: str) -> bool:
        """Whether a key belongs to the text that is being typed."""
        if key in ("tab", "shift+tab"):
            return True
        return isinstance(self.focused, Input | TextArea) and key not in TYPING_ESCAPES

    def _chosen(self, choices: list[Action], key: str) -> None:
        action = by_key(choices).get(key)
        if action is not None:
            self.act(action)
        self.refresh_chrome()

    # The filter

    def open_filter(self) -> None:
        """Type a filter for the view."""
        if self.view is not None:
            self.query_one("#line").add_class("-filtering")
            self.filter_line.open(self.view.address().text)

    def close_filter(self, *, clear: bool) -> None:
        """Back to the list."""
        self.filter_line.close()
        self.query_one("#line").remove_class("-filtering")
        if clear and self.view is not None:
            self.view.filter("")
        pane = self.view.first_focus() if self.view else None
        self.screen.set_focus(pane, scroll_visible=False)
        self.refresh_chrome()

    @property
    def filter_line(self) -> FilterLine:
        """Where the filter is typed."""
        return self.query_one(FilterLine)

    def on_filter_line_typed(self, event: FilterLine.Typed) -> None:
        """The filter acts as it is typed."""
        if self.view is not None:
            self.view.filter(event.text)

    def on_filter_line_left(self) -> None:
        """Enter keeps the filter."""
        self.close_filter(clear=False)

    # Reports

    def report(self, text: str, role: str = "ok", undo: Undo | None = None) -> None:
        """Say in the report line what happened."""
        self.reports.add(self.now(), text, role, undo)
        self.refresh_chrome()

    async def take_back(self) -> None:
        """Undo what was reported last, if it can be."""
        undo, self.reports.undo = self.reports.undo, None
        if undo is not None:
            await undo()

    def copy(self, text: str, what: str) -> None:
        """Put text on the clipboard and report it."""
        self.report(f"copied {what} ({clipboard.copy(text, self.copy_to_clipboard)})")

    def use_theme(self, name: str) -> None:
        """Change the look."""
        self.look.use(name)
        self.ansi_color = THEMES[self.look.theme].ansi
        self.theme = self.look.theme
        self.restyle()

    def restyle(self) -> None:
        """Draw everything anew."""
        for screen in self.screen_stack:
            for pane in screen.query(Canvas):
                pane.restyle()


def default_theme(env: Mapping[str, str]) -> str:
    """The theme when none is asked for: the one chosen last; 16 colours and NO_COLOR their own."""
    if env.get("NO_COLOR"):
        return "dagnats-ansi"
    term, colour = env.get("TERM", ""), env.get("COLORTERM", "")
    many = any(word in term for word in ("256", "kitty", "direct"))
    if not many and colour not in ("truecolor", "24bit"):
        return "dagnats-ansi"
    return saved.load().theme or DEFAULT
