"""What the console remembers from one session to the next: filters with names, and the theme."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import platformdirs
from msgspec import Struct

FILE_BYTES = 1 << 20
"""A file larger than this is not ours."""

MOST = 100
"""Filters that are kept."""


class Saved(Struct, kw_only=True):
    """The file's content.

    Args:
        theme: the last theme that was chosen.
        filters: address by name.
    """

    theme: str = ""
    filters: dict[str, str] = {}


def place() -> Path:
    """Where it lies; ``DAGNATS_UI_STATE`` names another file."""
    named = os.environ.get("DAGNATS_UI_STATE")
    return Path(named) if named else platformdirs.user_state_path("dagnats") / "ui.json"


def load() -> Saved:
    """What is remembered; nothing when the file is missing or broken."""
    try:
        with place().open("rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES), type=Saved)
    except (OSError, msgspec.MsgspecError):
        return Saved()


def save(saved: Saved) -> None:
    """Remember it; where nothing can be written, nothing is."""
    path = place()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(saved))
        part.replace(path)


def keep_filter(name: str, address: str) -> None:
    """Remember a filter under a name; an empty address forgets it."""
    saved = load()
    saved.filters.pop(name, None)
    if address:
        saved.filters[name] = address
    saved.filters = dict(list(saved.filters.items())[-MOST:])
    save(saved)


def keep_theme(name: str) -> None:
    """Remember the theme."""
    saved = load()
    saved.theme = name
    save(saved)
