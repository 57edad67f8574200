"""``docs/console.md`` says what the program does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dagnats.services.run_filter import KEYS
from dagnats.tui.screens import SCREENS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "console.md"


def test_the_keys_of_every_screen_are_as_documented() -> None:
    """After a wanted change: ``python scripts/make_console_docs.py``."""
    command = [sys.executable, "scripts/make_console_docs.py", "--check"]
    assert subprocess.run(command, cwd=ROOT, timeout=50, check=False).returncode == 0


def test_every_screen_and_every_filter_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [entry.kind for entry in SCREENS if f"`:{entry.kind}" not in text] == []
    assert [key for key in KEYS if f"`{key}:`" not in text] == []


def test_screens_are_unmistakable() -> None:
    words = [word for entry in SCREENS for word in (entry.kind, *entry.other)]
    keys = [entry.key for entry in SCREENS if entry.key]
    assert len(words) == len(set(words))
    assert len(keys) == len(set(keys))
