"""Asking for text: one line, or a document."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input, TextArea

from dagnats.errors import DagnatsError
from dagnats.model.codec import parse_json
from dagnats.tui.actions import Action
from dagnats.tui.line import Line, wrapped
from dagnats.tui.sheets.base import Fixed, Sheet

Check = Callable[[str], str]
"""What is wrong with a text; empty when nothing is."""

SHOWN = 200_000
"""Characters of a document that can be edited here."""


def fine(text: str) -> str:
    """Any text will do."""
    del text
    return ""


def json_check(text: str) -> str:
    """Whether a text is JSON."""
    try:
        parse_json(text)
    except DagnatsError as error:
        return error.message
    return ""


class Prompt(Sheet[str]):
    """One line of text.

    Args:
        title: what is asked for.
        label: a line of explanation; may be long.
        value: what stands there at first.
        check: says what is wrong.
        verb: what enter does.
    """

    def __init__(
        self, title: str, label: str = "", value: str = "", check: Check = fine, verb: str = "ok"
    ) -> None:
        super().__init__(title)
        self._label = label
        self._value = value
        self._check = check
        self._verb = verb

    def body(self) -> ComposeResult:
        """The explanation and the input."""
        if self._label:
            yield Fixed(self._lines, id="body")
        yield Input(self._value, id="answer", select_on_focus=False)

    def _lines(self, width: int) -> list[Line]:
        return [*wrapped(self._label, width, "muted"), Line()]

    def on_mount(self) -> None:
        """Ready to type."""
        width = max(20, min(104, self.app.size.width * 9 // 10 - 4))
        if self._label:
            self.query_one("#body").styles.height = len(self._lines(width))
        self.query_one(Input).cursor_blink = False
        self.query_one(Input).focus()

    def keys(self) -> list[Action]:
        """Take it."""
        return [
            Action(
                id="prompt.ok",
                keys=("enter",),
                label=self._verb,
                title="Take it",
                run=self._go,
                group="Do",
            )
        ]

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the input is enter."""
        event.stop()
        self._go()

    def on_input_changed(self, event: Input.Changed) -> None:
        """What was wrong may be right now."""
        del event
        if self.note:
            self.tell("")

    def _go(self) -> None:
        text = self.query_one(Input).value
        wrong = self._check(text)
        if wrong:
            self.tell(wrong)
        else:
            self.dismiss(text)


class Area(TextArea):
    """Where a document is edited; esc closes the dialog instead of moving the focus."""

    def on_key(self, event: events.Key) -> None:
        """Leave esc to the dialog."""
        if event.key == "escape":
            event.prevent_default()


class Editor(Sheet[str]):
    """A document, JSON by default.

    Args:
        title: what it is.
        value: what stands there at first.
        check: says what is wrong.
        verb: what ctrl+g does.
        about: lines above the document, for a width.
    """

    def __init__(
        self,
        title: str,
        value: str,
        check: Check = json_check,
        verb: str = "take it",
        about: Callable[[int], list[Line]] | None = None,
    ) -> None:
        super().__init__(title, tall=True)
        self._value = value[:SHOWN]
        self._check = check
        self._verb = verb
        self._about = about

    def body(self) -> ComposeResult:
        """The document."""
        if self._about is not None:
            yield Fixed(self._about, id="about")
        area = Area(self._value, id="text", show_line_numbers=True, tab_behavior="indent")
        area.cursor_blink = False
        yield area

    def on_mount(self) -> None:
        """Ready to edit."""
        if self._about is not None:
            width = max(20, min(146, self.app.size.width * 9 // 10 - 4))
            self.query_one("#about").styles.height = len(self._about(width)) + 1
        self.query_one(TextArea).focus()

    def keys(self) -> list[Action]:
        """Take it, or edit it elsewhere."""
        found = [
            Action(
                id="editor.ok",
                keys=("ctrl+g",),
                label=self._verb,
                title="Take it",
                run=self._go,
                group="Do",
            )
        ]
        if os.environ.get("VISUAL") or os.environ.get("EDITOR"):
            found.append(
                Action(
                    id="editor.open",
                    keys=("ctrl+o",),
                    label="$EDITOR",
                    title="Edit in $EDITOR",
                    run=self._elsewhere,
                )
            )
        return found

    def _go(self) -> None:
        text = self.query_one(TextArea).text
        wrong = self._check(text)
        if wrong:
            self.tell(wrong)
        else:
            self.dismiss(text)

    def _elsewhere(self) -> None:
        command = shlex.split(os.environ.get("VISUAL") or os.environ["EDITOR"])
        area = self.query_one(TextArea)
        with tempfile.TemporaryDirectory(prefix="dagnats-") as folder:
            path = Path(folder) / "document.json"
            path.write_text(area.text, encoding="utf-8")
            try:
                with self.app.suspend():
                    subprocess.run([*command, str(path)], check=False)
            except OSError as error:
                self.tell(f"{command[0]}: {error.strerror or error}")
                return
            area.text = path.read_text(encoding="utf-8", errors="replace")[:SHOWN]
