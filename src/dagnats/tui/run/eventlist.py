"""The events of a run, as a list that follows its end or the moment that is shown."""

from __future__ import annotations

import re
from bisect import bisect_right

from dagnats.engine.steps.map import split_instance
from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json
from dagnats.model.event import EventType
from dagnats.services.run_events import RunEvent
from dagnats.services.run_steps import MASK
from dagnats.tui.format import span
from dagnats.tui.jsontree import json_text
from dagnats.tui.line import Line
from dagnats.tui.run.state import RunState
from dagnats.tui.widgets.table import Column, Table

DETAIL = 160
"""Characters of an event's payload that its row may show."""

READ = 8 * 1024
"""Characters of a payload up to which it is read for its row."""

_ROLES = (
    (re.compile(r"\.(failed|rejected|expired|timeout)$"), "bad"),
    (re.compile(r"\.(completed|granted|matched)$"), "ok"),
    (re.compile(r"\.started$|\.spawn$"), "run"),
    (re.compile(r"cancelled$"), "canc"),
    (re.compile(r"^compensate"), "comp"),
    (re.compile(r"override$|reopened$"), "warn"),
    (re.compile(r"\.(dispatch|continue|iteration)$"), "retry"),
)


def role_of(kind: str) -> str:
    """The role of an event's type."""
    return next((role for pattern, role in _ROLES if pattern.search(kind)), "wait")


def detail_of(event: RunEvent) -> str:
    """What an event says, in a few words: its error, its reason, or its payload as it is."""
    if event.type == "workflow.started":
        return ""  # The definition; what matters of it is on the screen already.
    if not event.data or len(event.data) > READ or not event.data.startswith("{"):
        return event.data[:DETAIL]
    try:
        found = parse_json(event.data)
    except InvalidError:
        return event.data[:DETAIL]
    if not isinstance(found, dict):
        return event.data[:DETAIL]
    if "token" in found:
        found["token"] = MASK  # Whoever looks over a shoulder must not be able to approve.
    for key in ("error", "reason", "child_run_id", "description", "subject", "gate"):
        if found.get(key):  # pyright: ignore[reportUnknownMemberType]
            more = f"{found['action']}: " if key == "reason" and "action" in found else ""
            return f"{more}{found[key]}"[:DETAIL]
    return "" if not found else json_text(found)[:DETAIL]


def payload_of(event: RunEvent) -> str:
    """The payload of an event to be copied, without the token of an approval."""
    if event.type != EventType.APPROVAL_REQUESTED:
        return event.data
    try:
        found = parse_json(event.data)
    except InvalidError:
        return ""
    return json_text({**found, "token": MASK}) if isinstance(found, dict) else ""


_SIZES = ((90, (24, 22)), (66, (20, 16)), (0, (18, 10)))
"""From a width on: columns of an event's type and of its step."""


def _item_name(step_id: str) -> str:
    """``fetch[12]`` for an item of a map, whose full id is too long for a column."""
    found = split_instance(step_id)
    return step_id if found is None else f"{found[0]}[{found[1]}]"


class EventList(Table[int]):
    """Events by number, from 1.

    Args:
        state: the run.
    """

    ground = "surface"

    def __init__(self, state: RunState, *, id: str) -> None:  # noqa: A002
        column: Column[int] = Column(title="", cell=self._line, width=20, flex=1, gap=0)
        super().__init__([column], str, heading=True, id=id)
        self.state = state
        self.step = ""
        self.text = ""
        self.following = True
        self.empty = lambda width: [Line().add(self._nothing(), "muted", most=width)]

    def _nothing(self) -> str:
        if self.text or self.step:
            return "no event like that; esc shows all"
        if self.state.problem or self.state.view is None:
            return ""
        return "the events of this run are gone, or not read yet"

    def only(self, text: str = "", step: str = "") -> None:
        """Show only events whose type, step or payload contain ``text``, of one step if given."""
        self.text, self.step = text.lower(), step
        self.refill()

    def refill(self) -> None:
        """Take over what there is now; the cursor goes where the run stands."""
        total, before = self.state.total, len(self.rows)
        if self.text or self.step:
            self.rows = [number for number in range(1, total + 1) if self._accepts(number)]
        else:
            self.rows = range(1, total + 1)
        place = self.state.position
        if place is not None:
            # The last event that had happened by then.
            self.cursor = bisect_right(self.rows, place) - 1
        elif self.following or not before:
            self.cursor = len(self.rows) - 1
        self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self._known = str(self.rows[self.cursor]) if self.rows else ""
        self._anchor = self.cursor
        if place is not None and not self.top < self.cursor < self.top + self.page - 1:
            self.top = max(0, self.cursor - self.page // 2)  # What comes before and after shows.
        self._clamp()
        self.repaint()

    def move_to(self, index: int, *, follow: bool = False) -> None:
        """Put the cursor on an event; at the last one the list follows."""
        super().move_to(index, follow=follow)
        self.following = self.cursor >= len(self.rows) - 1

    def _accepts(self, number: int) -> bool:
        event = self.state.history.events[number - 1]
        if self.step and event.step_id != self.step:
            return False
        hay = f"{event.type} {event.step_id} {event.worker_id} {event.data[:4096]}".lower()
        return all(word in hay for word in self.text.split())

    def _heading(self, layout: list[tuple[Column[int], int]]) -> Line:
        del layout
        state = self.state
        row = Line().gap().add("EVENTS", "muted bold").gap(2)
        shown = f"{len(self.rows):,} of " if self.text or self.step else ""
        row.add(f"{shown}{state.total:,}", "muted")
        if state.history.beyond:
            row.add(f" and {state.history.beyond:,} more that are not kept", "warn")
        if self.step:
            row.gap(2).add(f"step:{self.step}", "accent")
        if self.text:
            row.gap(2).add(f"/{self.text}", "accent")
        return row

    def _line(self, number: int) -> Line:
        state = self.state
        event, at = state.history.events[number - 1], state.history.times[number - 1]
        late = state.position is not None and number > state.position
        row = Line().add(number, "faint", width=max(3, len(str(state.total))), align="right")
        row.gap().add("+" + span(at - state.history.times[0]), "muted", width=7, align="right")
        role = "faint" if late else role_of(event.type)
        kind, width = next(sizes for least, sizes in _SIZES if self.size.width >= least)
        row.gap(2).add(event.type, role, width=kind).gap()
        row.add(_item_name(event.step_id), "faint" if late else "text", width=width)
        number = event.attempt_number
        tries = f"{self.look.glyph('tries')}{number}" if number > 1 else ""
        row.gap().add(tries, "faint" if late else "retry", width=3).gap()
        if late:
            return row.add("later", "faint")
        detail = detail_of(event)
        if detail:
            return row.add(detail, "bad" if role == "bad" else "muted")
        return row.add(event.worker_id, "faint")
