"""The frame: the line above every screen and the two below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dagnats.services.address import format_address
from dagnats.tui.actions import Action, effective, key_text
from dagnats.tui.feed.feed import Feed
from dagnats.tui.format import age, clock, short, span
from dagnats.tui.line import Line
from dagnats.tui.screens import ROOTS
from dagnats.tui.theme import Look
from dagnats.tui.widgets.canvas import Canvas
from dagnats.tui.widgets.text import Make

if TYPE_CHECKING:
    from dagnats.tui.app import Console

SHOWN_STATES = ("running", "retrying", "waiting", "failed")


def header_line(feed: Feed, look: Look, width: int, root: str) -> Line:
    """Product, context, connection, counters, and the screens with their keys."""
    row = Line("surface").add(" dagnats", "text bold").gap()
    bar = look.glyph("sep")
    row.add(bar, "line").add(
        feed.link.name, "accent", most=max(8, width // (6 if width >= 100 else 9))
    ).gap()
    row.add(bar, "line").extend(_link(feed, look, wide=width >= 100)).gap()
    row.add(bar, "line").extend(_counters(feed, look, wide=width >= 100)).gap()
    row.add(bar, "line")
    if width >= 100:
        return row.extend(_tabs(root, width - row.width))
    time = Line().gap().add(clock(feed.now()) + "Z ", "muted")
    tabs = _tabs(root, width - row.width - time.width)
    if row.width + tabs.width + time.width > width:
        return row.extend(tabs)
    return row.extend(tabs).right(time, width)


def _link(feed: Feed, look: Look, *, wide: bool) -> Line:
    link, row = feed.link, Line()
    since = span_since(feed)
    if link.state == "live":
        row.add(look.glyph("live"), "ok").gap().add("live", "ok", link="app.notices").gap()
        return row.add(f"{short(round(feed.rate))}{' ev/s' if wide else '/s'}", "muted")
    if link.state == "recorded":
        return row.add("recorded", "warn bold").gap().add(clock(feed.now()) + "Z", "muted")
    if link.state == "connecting":
        return row.add("connecting…", "warn")
    row.add(look.glyph("failed"), "bad bold").gap().add(f"offline {since}", "bad bold")
    return row.add(f", try {link.tries}", "muted") if link.tries else row


def span_since(feed: Feed) -> str:
    """For how long the connection has been as it is."""
    return age(feed.now() - feed.link.since)


def _counters(feed: Feed, look: Look, *, wide: bool) -> Line:
    row = Line()
    gap = 2 if wide else 1
    for state in SHOWN_STATES:
        number = feed.runs.states.get(state, 0)
        if number or state == "running":
            glyph, role = look.status(state)
            more = "" if feed.runs.complete else "+"
            row.add(f"{glyph} {short(number)}{more}", role, link=f"go:runs status:{state}").gap(gap)
    dead = feed.dead.total
    role = "bad bold" if dead else "muted"
    return row.add(f"DLQ {short(dead)}", role, link="go:dlq")


def _tabs(root: str, room: int) -> Line:
    """The screens: by name as far as there is room, the others by their key; this one by name."""
    row = Line()
    here = next((entry for entry in ROOTS if entry.kind == root), None)
    spare = room - 2 * len(ROOTS) - (len(here.title) + 2 if here else 0)
    for entry in ROOTS:
        named = entry is here or len(entry.title) + 2 <= spare
        if named and entry is not here:
            spare -= len(entry.title) + 2
        elif not named:
            spare = 0
        text = f" {entry.key} {entry.title} " if named else f" {entry.key}"
        row.add(text, "text bold on:cursor" if entry is here else "muted", link=f"go:{entry.kind}")
    if row.width <= room or here is None:
        return row
    return Line().add(f" {here.key} {here.title} ", "text bold on:cursor")


def banner_line(feed: Feed, look: Look) -> Line | None:
    """What must be known about the connection; nothing while all is well."""
    link = feed.link
    if link.state == "offline":
        row = Line("surface").add(f" {look.glyph('failed')} ", "bad bold")
        row.add(link.error or "the connection was lost", "bad")
        row.add(f"   data as of {clock(link.heard)}Z" if link.heard else "", "muted")
        return row.add("   you can read; actions wait", "muted")
    if link.state == "live" and link.away and feed.now() - link.since < 8_000_000_000:
        row = Line("surface").add(f" {look.glyph('ok')} ", "ok bold")
        return row.add(
            f"back after {span(link.away)} {look.glyph('dot')} "
            f"{link.missed} changes caught up, 0 lost (seq {feed.seq})",
            "ok",
        )
    return None


def address_line(app: Console, report: Line | None, width: int) -> Line:
    """The address or what was just reported; counts, and whether anything can be changed."""
    row = report
    if row is None:
        row = Line("surface").gap()
        if app.view is not None and not app.filter_line.display:
            row.add(":" + format_address(app.view.address()), "accent", link="app.go")
    right = Line().extend(app.view.status()) if app.view is not None else Line()
    if app.paused:
        right.gap(2).add("held still, p goes on", "warn", link="app.pause")
    if app.read_only:
        right.gap(2).add("read-only", "warn")
    if report is not None and row.width + right.width > width - 2:
        right = Line()
    return row.right(right.gap(), width)


def choices_line(title: str, choices: list[Action], width: int) -> Line:
    """What may follow a prefix key; what cannot be done here is left out, and says why if typed."""
    row = Line("surface").gap().add(title, "text bold").gap(3)
    for action in choices:
        if action.off():
            continue
        row.add(action.keys[0], "accent bold", link=action.id).gap()
        row.add(action.label or action.title, "muted", link=action.id).gap(3)
    return row.add("esc", "accent bold").add(" leave", "muted").clip(width)


def footer_line(actions: list[Action], width: int, blocked: Callable[[Action], str]) -> Line:
    """The keys that matter here; what cannot be done now is struck out."""
    row = Line("surface").gap()
    shown = [action for action in effective(actions) if action.label]
    last = [action for action in shown if action.id in ("app.help", "app.quit")]
    first = [action for action in shown if action not in last]
    tail = Line()
    for action in last:
        _key(tail, action, blocked)
    for action in first:
        piece = _key(Line(), action, blocked)
        if row.width + piece.width + tail.width > width:
            break
        row.extend(piece)
    return row.extend(tail)


def _key(row: Line, action: Action, blocked: Callable[[Action], str]) -> Line:
    off = bool(blocked(action))
    row.add(key_text(action.keys[0]), "faint" if off else "accent bold", link=action.id).gap()
    return row.add(action.label, "faint strike" if off else "muted", link=action.id).gap(2)


class Chrome(Canvas):
    """One of the fixed lines; what it shows is given by a function.

    Args:
        make: the lines for a width.
    """

    ground = "surface"

    def __init__(self, make: Make, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._make = make

    def paint(self, width: int, height: int) -> list[Line]:
        """What the function says."""
        del height
        return self._make(width)
