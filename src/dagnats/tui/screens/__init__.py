"""The screens, and how to write one.

A screen is one module here with one class, a :class:`dagnats.tui.view.View`, and one :class:`Entry`
in :data:`SCREENS`. The entry makes it reachable by its address (``:kind …``), its key, the palette,
the completion of ``:`` and ``dagnats ui --screen``. Modules are imported when they are first shown.

1. Compose panes in ``compose``: :class:`~dagnats.tui.widgets.table.Table` for lists,
   :class:`~dagnats.tui.widgets.log.Log` for what arrives, and for everything else
   :class:`~dagnats.tui.widgets.text.Text`. Style geometry in ``DEFAULT_CSS`` only; colours are
   roles in lines.
2. Take over the address in ``navigate`` and give it back in ``address``.
3. Read the feed in ``flush`` (called when something changed, at most ten times a second, while
   visible); read what the feed does not have with ``load``; follow streams with ``follow``.
4. List what keys do in ``actions``. Those that change something say ``changes=True``, ask with a
   sheet, call one service, and ``report`` what came of it.
5. Set ``self.loaded = True`` when what was asked for is shown: printing and tests wait for it.

Text from anywhere goes into a :class:`~dagnats.tui.line.Line` and nowhere else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from dagnats.errors import NotFoundError

if TYPE_CHECKING:
    from dagnats.tui.view import View


class Entry(Struct, frozen=True, kw_only=True):
    """One screen.

    Args:
        kind: first word of its address.
        place: ``module:Class`` below ``dagnats.tui.screens``.
        title: in the header and the palette.
        help: one line for palette and documentation.
        key: number key; empty for screens that are reached from others.
        other: more words that mean it.
        terms: keys its filter understands, for completion.
        root: the root screen it belongs to, shown in the header; empty: it is one.
        takes: what ids it takes, for the help, e.g. ``RUN``.
        many: one view per id, so that going from one run to another keeps both in the history.
    """

    kind: str
    place: str
    title: str
    help: str
    key: str = ""
    other: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    root: str = ""
    takes: str = ""
    many: bool = False


SCREENS: tuple[Entry, ...] = (
    Entry(
        kind="home",
        place="home:Home",
        title="Home",
        help="Is anything on fire",
        key="1",
        other=("dashboard",),
    ),
    Entry(
        kind="runs",
        place="runs:Runs",
        title="Runs",
        help="All runs, live",
        key="2",
        other=("r", "ls"),
        terms=("wf", "status", "since", "step", "dur", "id", "err", "sort"),
    ),
    Entry(
        kind="dlq",
        place="dlq:Dlq",
        title="DLQ",
        help="What failed for good, by kind of failure",
        key="3",
        other=("dead",),
        terms=("group", "by", "wf", "run", "step", "task", "reason"),
    ),
    Entry(
        kind="queues",
        place="queues:Queues",
        title="Queues",
        help="What waits, who serves it, and what nobody serves",
        key="4",
        other=("workers", "tasks"),
        terms=("task", "worker", "wf"),
    ),
    Entry(
        kind="flows",
        place="flows:Flows",
        title="Flows",
        help="Workflows: how they are doing, and starting one",
        key="5",
        other=("workflows",),
        terms=("wf",),
    ),
    Entry(
        kind="triggers",
        place="triggers:Triggers",
        title="Triggers",
        help="What starts runs by itself, and how that went",
        key="6",
        other=("trigger",),
        terms=("kind", "wf", "state"),
    ),
    Entry(
        kind="logs",
        place="logs:Logs",
        title="Logs",
        help="What server and workers say, as they say it",
        key="7",
        other=("log",),
        terms=("level", "run", "step", "service", "since"),
    ),
    Entry(
        kind="waiting",
        place="waiting:Waiting",
        title="Waiting",
        help="Approvals that wait for a person, runs that wait for their time",
        key="8",
        other=("approvals", "schedules"),
        terms=("wf", "run", "step"),
    ),
    Entry(
        kind="system",
        place="system:System",
        title="System",
        help="Engines, streams, consumers, clients, locks, settings",
        key="9",
        other=("streams", "consumers", "locks", "connections", "settings"),
        terms=("stream",),
    ),
    Entry(
        kind="audit",
        place="audit:Audit",
        title="Audit",
        help="What was done, and by whom",
        key="0",
        other=("@",),
        terms=("actor", "action", "outcome"),
    ),
    Entry(
        kind="run",
        place="run:RunScreen",
        title="Run",
        help="One run: steps, timeline, events, any moment of its past",
        terms=("step", "at"),
        root="runs",
        takes="RUN",
        many=True,
    ),
    Entry(
        kind="diff",
        place="diff:DiffScreen",
        title="Compare",
        help="Two runs side by side",
        root="runs",
        takes="RUN RUN",
        many=True,
    ),
    Entry(
        kind="flow",
        place="flow:Flow",
        title="Workflow",
        help="One workflow: steps, definition, versions",
        other=("workflow",),
        terms=("view", "step"),
        root="flows",
        takes="NAME",
        many=True,
    ),
)
"""Every screen, in the order of their keys."""

ROOTS: tuple[Entry, ...] = tuple(entry for entry in SCREENS if entry.key)


def find(kind: str) -> Entry:
    """The screen that a word means.

    Raises:
        NotFoundError: none does.
    """
    for entry in SCREENS:
        if kind == entry.kind or kind in entry.other:
            return entry
    names = ", ".join(entry.kind for entry in SCREENS)
    raise NotFoundError(f'there is no screen "{kind[:40]}"', f"there are: {names}")


def make(entry: Entry) -> View:
    """A new view of a screen."""
    module, _, name = entry.place.partition(":")
    kind = getattr(import_module(f"dagnats.tui.screens.{module}"), name)
    return cast("View", kind())
