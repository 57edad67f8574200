"""Asking before something is done, in proportion to what it may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input

from dagnats.tui.actions import Action
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.sheets.base import Fixed, Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done.

    Attributes:
        title: the question, e.g. ``replay 6 of 11 dead letters``.
        lines: what happens, to how many, what is left out and why; for a width.
        command: the command line that does the same.
        verb: what enter does, e.g. ``replay``.
        phrase: what must be typed first, for what cannot be undone or touches many; empty: nothing.
        danger: show it in the colour of failure.
    """

    title: str
    lines: Callable[[int], list[Line]]
    command: str = ""
    verb: str = "do it"
    phrase: str = ""
    danger: bool = False


def told(*texts: str) -> Callable[[int], list[Line]]:
    """Lines of plain text, wrapped."""
    return lambda width: [row for text in texts for row in wrapped(text, width, "text")]


class Confirm(Sheet[bool]):
    """Shows a plan; ``True`` if it is to be carried out.

    Args:
        plan: what would be done.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.title, role="bad bold" if plan.danger else "text bold")
        self.plan = plan

    def body(self) -> ComposeResult:
        """The plan, and where the phrase is typed."""
        yield Fixed(self._lines, id="body")
        if self.plan.phrase:
            yield Fixed(self._ask, id="ask")
            yield Input(id="phrase", select_on_focus=False)

    def _lines(self, width: int) -> list[Line]:
        rows = self.plan.lines(width)
        if self.plan.command:
            rows = [*rows, Line()]
            rows += wrapped(f"same as: {self.plan.command}", width, "muted", 3)
        return rows

    def _ask(self, width: int) -> list[Line]:
        del width
        row = Line().add("Type ", "muted").add(self.plan.phrase, "accent bold")
        return [Line(), row.add(" to go on:", "muted")]

    def on_mount(self) -> None:
        """Make room for every line."""
        width = max(20, min(104, self.app.size.width * 9 // 10 - 4))
        self.query_one("#body").styles.height = max(1, len(self._lines(width)))
        if self.plan.phrase:
            self.query_one("#ask").styles.height = 2
            self.query_one(Input).cursor_blink = False
            self.query_one(Input).focus()

    def keys(self) -> list[Action]:
        """Do it, or take the command and do it elsewhere."""
        yes = Action(
            id="confirm.yes",
            keys=("enter",),
            label=self.plan.verb,
            title=self.plan.title,
            run=self._go,
            group="Do",
        )
        copy = Action(
            id="confirm.copy",
            keys=("y",),
            label="copy command",
            title="Copy the command that does the same",
            run=self._copy,
        )
        # Where a phrase is typed, y is a letter of it.
        return [yes, copy] if self.plan.command and not self.plan.phrase else [yes]

    def _copy(self) -> None:
        self.host.copy(self.plan.command, "the command")
        self.tell("the command is copied")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the input is enter."""
        event.stop()
        self._go()

    def _go(self) -> None:
        if self.plan.phrase and self.query_one(Input).value.strip() != self.plan.phrase:
            self.tell(f"type {self.plan.phrase} first; esc leaves everything as it is")
            return
        self.dismiss(True)


class Choice(Sheet[str]):
    """One of several answers, each with a key.

    Args:
        title: the question.
        options: key, label and answer.
        lines: what to know before choosing.
    """

    def __init__(
        self, title: str, options: list[tuple[str, str, str]], lines: tuple[str, ...] = ()
    ) -> None:
        super().__init__(title)
        self._options = options
        self._texts = lines

    def body(self) -> ComposeResult:
        """What may be chosen."""
        yield Fixed(self._lines, id="body")

    def _lines(self, width: int) -> list[Line]:
        rows = [row for text in self._texts for row in wrapped(text, width, "muted")]
        if rows:
            rows.append(Line())
        for key, label, _ in self._options:
            row = line("  ").add(key, "accent bold", width=3, link=f"choice.{key}")
            rows.append(row.add(label, "text", most=width - 6, link=f"choice.{key}"))
        return rows

    def on_mount(self) -> None:
        """Make room for every line."""
        width = max(20, min(104, self.app.size.width * 9 // 10 - 4))
        self.query_one("#body").styles.height = max(1, len(self._lines(width)))

    def keys(self) -> list[Action]:
        """A key per answer."""
        return [
            Action(
                id=f"choice.{key}",
                keys=(key,),
                title=label,
                group="Do",
                run=lambda answer=answer: self.dismiss(answer),
            )
            for key, label, answer in self._options
        ]

    def on_key(self, event: events.Key) -> None:
        """Keys reach the dispatcher by bubbling; nothing is typed here."""
