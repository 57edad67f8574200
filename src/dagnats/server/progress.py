"""What ``serve`` says on standard error while it starts and stops.

To a person: bullets and a banner. Where the log is JSON, every line is a record, so these are, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

log = logging.getLogger("dagnats.server")

LOGO = r"""
     _                         _
  __| | __ _  __ _ _ __   __ _| |_ ___
 / _` |/ _` |/ _` | '_ \ / _` | __/ __|
| (_| | (_| | (_| | | | | (_| | |_\__ \
 \__,_|\__,_|\__, |_| |_|\__,_|\__|___/
             |___/
"""


class Listening(Struct, frozen=True, kw_only=True):
    """Where a server is to be found, and how it keeps what it is given."""

    status: str = "ready"
    nats: str
    http: str = ""
    data_dir: str = ""
    sync: str = ""
    config_file: str = ""


class Progress:
    """The voice of a starting or stopping server.

    Args:
        write: takes lines for a person; ``None`` when the log is JSON.
    """

    def __init__(self, write: Callable[[str], None] | None) -> None:
        self._write = write

    def config(self, path: Path | None) -> None:
        """Say where the configuration comes from."""
        found = f"config loaded from {path}" if path else "no config file found, using defaults"
        self._say(f"   {found}", found)

    def step(self, text: str) -> None:
        """Say that something has started, or begins to stop."""
        self._say(f"   • {text}", text)

    def warn(self, text: str) -> None:
        """Say what an operator should not overlook."""
        if self._write:
            self._write(f"   ! {text}")
        else:
            log.warning("%s", text)

    def banner(self, listening: Listening) -> None:
        """Say that everything runs, and where."""
        if not self._write:
            log.info("ready", extra={"about": _told(listening)})
            return
        self._write(LOGO)
        for label, value in _told(listening).items():
            self._write(f"  {label:<5} {value}")
        self._write("")

    def _say(self, line: str, text: str) -> None:
        if self._write:
            self._write(line)
        else:
            log.info("%s", text)


def _told(listening: Listening) -> dict[str, str]:
    found = {"http": listening.http, "nats": listening.nats, "data": listening.data_dir}
    if listening.sync == "always":
        found["sync"] = "always: every acknowledged write is on disk"
    elif listening.sync:
        found["sync"] = f"every {listening.sync}: a power cut may lose what was acknowledged since"
    return {label: value for label, value in found.items() if value}
