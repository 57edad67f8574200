"""Any view as text, without a terminal."""

from __future__ import annotations

import asyncio
import io
import time

from rich.console import Console as RichConsole
from rich.segment import Segment
from textual.widget import Widget
from textual.widgets import Input

from dagnats.errors import DagnatsError, UnreachableError
from dagnats.tui.app import Console
from dagnats.tui.go import GoLine
from dagnats.tui.line import Line, Span, line
from dagnats.tui.theme import Look
from dagnats.tui.widgets.canvas import Canvas

PATIENCE_S = 10.0
"""Seconds a view may take to show what was asked for."""


async def printed(app: Console, width: int, height: int, *, colours: bool) -> str:
    """What a view shows, as text.

    Args:
        app: the application, at the wanted address.
        width: columns.
        height: rows.
        colours: with escape sequences for colours.

    Raises:
        UnreachableError: there is no server.
    """
    async with app.run_test(size=(width, height)) as pilot:
        await _loaded(app)
        await pilot.pause()
        rows = rows_of(app, width, height)
    return _text(rows, app.look, colours=colours)


async def _loaded(app: Console) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while app.view is None or not app.view.loaded:
        if app.feed.link.state == "offline":
            raise UnreachableError(app.feed.link.error, "run 'dagnats serve' to start the server")
        text, role = app.reports.last
        if role == "bad" and app.view is None:
            raise DagnatsError(text)
        if time.monotonic() > deadline:
            return  # What is there already is more than nothing; the counts say that more comes.
        await asyncio.sleep(0.01)


def rows_of(app: Console, width: int, height: int) -> list[Line]:
    """The screen as lines: every pane that is displayed, in its place."""
    main: list[list[tuple[int, Line]]] = [[] for _ in range(height)]
    over: list[list[tuple[int, Line]]] = [[] for _ in range(height)]
    for pane in app.screen.query("Canvas, Input"):
        if not all(node.display for node in pane.ancestors_with_self if isinstance(node, Widget)):
            continue
        layer = over if isinstance(pane.parent, GoLine) else main
        for at, row in enumerate(_rows(pane)[: pane.size.height]):
            if 0 <= pane.region.y + at < height:
                layer[pane.region.y + at].append((pane.region.x, row))
    return [_joined(top or parts, width) for top, parts in zip(over, main, strict=True)]


def _rows(pane: Widget) -> list[Line]:
    if isinstance(pane, Canvas):
        return pane.lines()
    return [line(pane.value, "text")] if isinstance(pane, Input) else []


def _joined(parts: list[tuple[int, Line]], width: int) -> Line:
    whole = Line()
    for x, row in sorted(parts, key=lambda part: part[0]):
        if whole.width < x:
            whole.gap(x - whole.width)
        whole.extend(Line().extend(row))
    return whole.clip(width)


def _text(rows: list[Line], look: Look, *, colours: bool) -> str:
    texts = [row.text.rstrip() for row in rows]
    while texts and not texts[-1]:
        texts.pop()
    if not colours:
        return "\n".join(texts) + "\n"
    console = RichConsole(
        file=io.StringIO(), force_terminal=True, width=10_000, color_system="truecolor"
    )
    with console.capture() as capture:
        for row in rows[: len(texts)]:
            console.print(_Segments([_segment(span, look) for span in row.spans]), end="\n")
    return capture.get()


def _segment(span: Span, look: Look) -> Segment:
    style = look.style(" ".join(w for w in span.role.split() if not w.startswith("on:")))
    return Segment(span.text, style.without_color + type(style)(color=style.color))


class _Segments:
    """Segments as something Rich can print."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def __rich__(self) -> object:
        from rich.segment import Segments

        return Segments(self._segments)
