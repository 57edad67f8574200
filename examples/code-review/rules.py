"""The reviewer: simple rules over the lines a hunk adds. No model is asked, nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from diffs import Hunk
from linting import Finding

LONGEST = 100
"""Characters a line may have."""

LARGE = 150
"""Added lines above which a hunk is hard to review."""

Rule = tuple[str, str, Callable[[str, str], bool]]


def _matches(pattern: str, *endings: str) -> Callable[[str, str], bool]:
    compiled = re.compile(pattern)
    return lambda path, line: path.endswith(endings or ("",)) and bool(compiled.search(line))


RULES: tuple[Rule, ...] = (
    ("conflict", "a merge conflict marker was left behind", _matches(r"^(<{7}|>{7})( |$)")),
    ("note", "a note to self was left behind", _matches(r"\b(TO" r"DO|FIX" r"ME)\b")),
    ("debug", "a debugger call was left behind", _matches(r"^\s*(breakpoint\(|import pdb)", ".py")),
    ("bare-except", "catches everything, an interrupt too", _matches(r"^\s*except\s*:", ".py")),
    ("eval", "runs text as code", _matches(r"(?<![\w.])(eval|exec)\(", ".py")),
    ("shell", "hands text to a shell", _matches(r"\bshell\s*=\s*True\b", ".py")),
    (
        "secret",
        "looks like a secret in the source",
        _matches(r"(?i)\b(password|secret|token|api_key)\b\s*=\s*[\"'][^\"'\s]{8,}[\"']"),
    ),
    ("space", "trailing white space", _matches(r"[ \t]+$", ".py", ".toml", ".yaml", ".json")),
    ("long", f"longer than {LONGEST} characters", _matches(rf"^.{{{LONGEST + 1}}}", ".py")),
)  # fmt: skip


def review(hunk: Hunk) -> list[Finding]:
    """What the rules say of one hunk."""
    findings = [
        Finding(path=hunk["path"], line=number, rule=rule, message=message)
        for number, line in _added(hunk)
        for rule, message, applies in RULES
        if applies(hunk["path"], line)
    ]
    size = sum(line.startswith("+") for line in hunk["lines"])
    if size > LARGE:
        message = f"adds {size} lines at once, which is hard to review"
        findings.append(
            Finding(path=hunk["path"], line=hunk["start"], rule="large", message=message)
        )
    return findings


def _added(hunk: Hunk) -> Iterator[tuple[int, str]]:
    """The added lines with their numbers in the new file."""
    number = hunk["start"]
    for line in hunk["lines"]:
        if line.startswith("+"):
            yield number, line[1:]
        if not line.startswith("-"):
            number += 1
