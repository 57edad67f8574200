from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.services.text import one_line, sanitize

ANY_TEXT = st.text(st.characters(), max_size=80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b]52;c;cGF5\x07", "\\x1b]52;c;cGF5\\x07"),
        ("a\rb", "a\\rb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("\ud800", "\\ud800"),
        ("[b]not markup[/b]", "[b]not markup[/b]"),
    ],
)
def test_what_a_terminal_acts_upon_is_shown_instead(text: str, shown: str) -> None:
    assert sanitize(text) == shown


@given(ANY_TEXT)
def test_nothing_dangerous_survives(text: str) -> None:
    safe = sanitize(text)
    assert all(unicodedata.category(char) not in ("Cc", "Cs") or char in "\n\t" for char in safe)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", safe)
    safe.encode()


@given(ANY_TEXT, st.integers(1, 40))
def test_one_line_is_one_line_of_bounded_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width
    assert len(line.splitlines()) <= 1


def test_what_is_cut_off_is_counted() -> None:
    assert sanitize("x" * 12, 10) == "x" * 10 + "… (2 more characters)"


def test_a_megabyte_on_one_line_is_cut_before_it_is_escaped() -> None:
    assert one_line("\x1b" * 1_000_000, 9) == "\\x1b\\x1b…"
