"""A terminal driver on which Escape is not late.

Textual's input thread looks at the timeout of a pending escape sequence only when its 0.1 s select
returns, so that a single Escape takes that long whatever ESCDELAY says (``tui.md`` 3.4). This one
selects for what is left of the timeout. It leans on two private names of the parser; a test fails
when they are gone.
"""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from typing import Any

from textual import constants
from textual._time import get_time
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

ESCAPE_S = 0.025
"""How long a lone escape may turn out to begin a sequence, in seconds."""


def prompt_escape() -> None:
    """Shorten the parser's patience, unless the user has set ESCDELAY."""
    if "ESCDELAY" not in os.environ:
        setattr(constants, "ESCAPE_DELAY", ESCAPE_S)  # noqa: B010 - it is declared final


class PromptDriver(LinuxDriver):
    """The Linux driver with a prompt Escape."""

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events."""
        selector = selectors.SelectSelector()
        selector.register(self.fileno, selectors.EVENT_READ)
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")().decode
        try:
            while not self.exit_event.is_set():
                if selector.select(self._patience(parser)):
                    data = decode(os.read(self.fileno, 4096))
                    if not data:
                        break
                    for event in parser.feed(data):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
        finally:
            selector.close()

    @staticmethod
    def _patience(parser: Any) -> float:
        due = getattr(parser, "_timeout_time", None)
        if due is None:
            return 0.1
        return min(0.1, max(0.001, due - get_time()))
