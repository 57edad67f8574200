"""Every rule of the specification has a test that names it, or a line in RULES.md."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = Path(__file__).parent / "RULES.md"
_ID = re.compile(r"\b([A-Z]+)-(\d+)(?:\.\.(?:[A-Z]+-)?(\d+))?")


def named(text: str) -> set[str]:
    """The rules a text names; ``RUN-1..RUN-3`` names three."""
    return {
        f"{group}-{number}"
        for group, first, last in _ID.findall(text)
        for number in range(int(first), int(last or first) + 1)
    }


@cache
def page() -> tuple[set[str], list[str]]:
    """All rules, and the lines that say where they are tested."""
    text = PAGE.read_text(encoding="utf-8")
    listed = re.search(r"All rules: (.*?)\.\n\n", text, re.DOTALL)
    assert listed is not None
    rules: set[str] = set()
    for group in listed[1].replace("\n", " ").split(", "):
        name, *numbers = group.split()
        for span in numbers:
            first, _, last = span.partition("..")
            rules |= {f"{name}-{n}" for n in range(int(first), int(last or first) + 1)}
    return rules, [line for line in text.splitlines() if line.startswith("- ")]


def test_no_rule_is_without_a_test_or_a_note() -> None:
    rules, lines = page()
    known = {rule for line in lines for rule in named(line.partition(": ")[0])}
    for path in TESTS.rglob("*.py"):
        known |= named(path.read_text(encoding="utf-8"))
    assert rules - known == set()


def test_every_test_that_the_page_names_exists() -> None:
    for line in page()[1]:
        for path, name in re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", line):
            assert f"def {name}(" in (TESTS.parent / path).read_text(encoding="utf-8"), line
