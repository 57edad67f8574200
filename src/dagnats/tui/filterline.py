"""The line in which a filter is typed; it lies in the place of the address."""

from __future__ import annotations

from textual.message import Message
from textual.widgets import Input


class FilterLine(Input):
    """An input that is there while it is used."""

    DEFAULT_CSS = "FilterLine { display: none; width: 1fr; }"

    class Typed(Message):
        """The filter has changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The filter is as wanted."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, select_on_focus=False, placeholder="words that must all occur")
        self.cursor_blink = False

    def open(self, text: str) -> None:
        """Begin to type."""
        self.value = text
        self.display = True
        self.cursor_position = len(text)
        self.focus()

    def close(self) -> None:
        """Be gone."""
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Every key filters."""
        event.stop()
        if self.display:
            self.post_message(self.Typed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps the filter."""
        event.stop()
        self.post_message(self.Left())
