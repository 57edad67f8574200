"""Run a real linter on the changed files: ruff, or Python's compiler where ruff is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TypedDict

TIMEOUT = 60.0
"""Seconds the linter may take."""

RULES = "E9,F,B"
"""Mistakes, not matters of style: the repository's own settings are not known here."""

MAX_FINDINGS = 500
"""Most findings one report carries."""


class Finding(TypedDict):
    """One thing somebody should look at."""

    path: str
    line: int
    rule: str
    message: str


class Lint(TypedDict):
    """What ``lint.run`` returns."""

    linter: str
    files: int
    findings: list[Finding]
    findings_left_out: int


def lint(sources: dict[str, str]) -> Lint:
    """Lint files given as text. Nothing of them is executed.

    Args:
        sources: path in the repository to text.
    """
    ruff = _ruff()
    found = _with_ruff(ruff, sources) if ruff else _with_compiler(sources)
    kept = found[:MAX_FINDINGS]
    return Lint(
        linter="ruff" if ruff else "python", files=len(sources), findings=kept,
        findings_left_out=len(found) - len(kept),
    )  # fmt: skip


def _ruff() -> str:
    beside = Path(sys.executable).parent / "ruff"
    return str(beside) if beside.is_file() else shutil.which("ruff") or ""


def _with_ruff(ruff: str, sources: dict[str, str]) -> list[Finding]:
    """Ruff reads from a folder of our own: the paths in a diff name no files of this machine."""
    with tempfile.TemporaryDirectory(prefix="code-review-") as folder:
        names: dict[str, str] = {}
        for number, (path, text) in enumerate(sources.items()):
            copy = Path(folder) / f"{number}.py"
            copy.write_text(text, encoding="utf-8", errors="replace")
            names[copy.name] = path
        done = subprocess.run(
            [
                ruff,
                "check",
                "--isolated",
                "--select",
                RULES,
                "--no-cache",
                "--exit-zero",
                "--output-format",
                "json",
                folder,
            ],
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
    return [
        Finding(
            path=names[Path(row["filename"]).name],
            line=int(row["location"]["row"]),
            rule=str(row.get("code") or "syntax"),
            message=str(row["message"])[:300],
        )
        for row in json.loads(done.stdout)
    ]


def _with_compiler(sources: dict[str, str]) -> list[Finding]:
    found: list[Finding] = []
    for path, text in sources.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(text, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            found.append(Finding(path=path, line=line, rule="syntax", message=str(error)[:300]))
    return found
