"""Screens of several panes that share one place: a strip of names, and ``tab`` to go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget

from dagnats.services.address import Address
from dagnats.tui.actions import Action
from dagnats.tui.line import Line
from dagnats.tui.screens.listing import ListView
from dagnats.tui.widgets.text import Text


@dataclass(frozen=True, slots=True)
class Section:
    """One of the panes.

    Attributes:
        name: as in the address; the first section's is that of the screen.
        title: in the strip.
        pane: what is shown; it may hold others.
        count: how many there are, or a mark of trouble: text and role.
    """

    name: str
    title: str
    pane: Widget
    count: Callable[[], tuple[str, str]] = lambda: ("", "")


class Sectioned(ListView):
    """A screen with sections; the kind of its address is the name of the section."""

    BINDINGS = [
        Binding("tab", "section(1)", show=False),
        Binding("shift+tab", "section(-1)", show=False),
    ]
    DEFAULT_CSS = "Sectioned #strip { height: 1; }"

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.parts: list[Section] = []
        self.at = 0

    def strip(self) -> ComposeResult:
        """The strip; to be composed where it is to stand."""
        yield Text(self._strip_lines, focusable=False, id="strip")

    def _strip_lines(self, width: int) -> list[Line]:
        row = Line().gap(2)
        for at, part in enumerate(self.parts):
            here = at == self.at
            row.add(part.title, "accent bold underline" if here else "muted", link=part_id(part))
            text, role = part.count()
            if text:
                row.gap().add(text, role or ("text" if here else "faint"), link=part_id(part))
            row.gap(4)
        return [row.right(self.headline().gap(), width)]

    def headline(self) -> Line:
        """What stands at the right of the strip."""
        return Line()

    @property
    def section(self) -> Section:
        """The section that is shown."""
        return self.parts[self.at]

    def show_section(self, at: int) -> None:
        """Show another section."""
        self.at = at % len(self.parts)
        for index, part in enumerate(self.parts):
            part.pane.display = index == self.at
        pane = self.first_focus()
        if pane is not None and self.is_current:
            self.screen.set_focus(pane, scroll_visible=False)
        self.here = self.with_section(self.here, self.section.name)
        self.entered()
        self.tick()
        self.changed()

    def entered(self) -> None:
        """Another section is shown."""

    def action_section(self, by: int) -> None:
        """Show the next section, or the one before."""
        self.show_section(self.at + by)

    def section_of(self, address: Address) -> str:
        """The section that an address names."""
        return address.kind

    def with_section(self, address: Address, name: str) -> Address:
        """The address of another section."""
        return msgspec.structs.replace(address, kind=name)

    def navigate(self, address: Address) -> None:
        """Show the section that the address names, the first by default."""
        wanted = self.section_of(address)
        at = next((at for at, part in enumerate(self.parts) if part.name == wanted), 0)
        super().navigate(self.with_section(address, self.parts[at].name))
        self.show_section(at)

    def first_focus(self) -> Widget | None:
        """The list of the section."""
        pane = self.section.pane
        if pane.can_focus:
            return pane
        return next((child for child in pane.query("*") if child.can_focus), None)

    def section_actions(self) -> list[Action]:
        """Going on with ``tab``, and the links of the strip."""
        onward = Action(
            id="section.next",
            keys=("tab",),
            label="section",
            title="Next section",
            run=lambda: self.show_section(self.at + 1),
            group="Go",
        )
        return [
            onward,
            *(
                Action(
                    id=part_id(part),
                    keys=(),
                    title=f"Section {part.title}",
                    run=lambda at=at: self.show_section(at),
                    group="Go",
                )
                for at, part in enumerate(self.parts)
            ),
        ]


def part_id(part: Section) -> str:
    """The action that shows a section."""
    return f"section.{part.name}"
