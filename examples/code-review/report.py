"""Put what was found into one Markdown page."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from linting import Finding, Lint


class Summary(TypedDict):
    """What ``review.summarize`` returns."""

    title: str
    summary: str
    notes: list[str]
    findings: list[Finding]


class Posted(TypedDict):
    """What ``review.post-results`` returns, and so the run."""

    issues_found: int
    summary: str
    report: str


def summarize(lint: Lint, review: dict[str, Any]) -> Summary:
    """One sorted list of findings, and in words how far the review went.

    Args:
        lint: what the linter found.
        review: the last iteration of the review loop.
    """
    findings = sorted(
        [*lint["findings"], *review["findings"]], key=lambda found: (found["path"], found["line"])
    )
    notes = [
        f"Reviewed: {review['reviewed']} hunks of {_code(review['range'])}",
        f"Linter: {lint['linter']}, {lint['files']} files",
    ]
    if review["hunks_left_out"]:
        notes.append(f"Not reviewed, beyond the limit: {review['hunks_left_out']} hunks")
    if lint["findings_left_out"]:
        notes.append(f"Not listed, beyond the limit: {lint['findings_left_out']} linter findings")
    files = len({found["path"] for found in findings})
    verdict = f"{len(findings)} findings in {files} files" if findings else "All checks passed"
    title = f"Code review: {review['label']}" if review["label"] else "Code review"
    return Summary(
        title=title,
        summary=f"{verdict}, {review['reviewed']} hunks reviewed",
        notes=notes,
        findings=findings,
    )


def write(folder: Path, run_id: str, summary: Summary) -> Posted:
    """Write the report. The name depends on the run alone, so a repeated step writes it again.

    Args:
        folder: where reports go; it is made if it is not there.
        run_id: the run this is the report of.
        summary: what to say.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", run_id):
        raise ValueError(f"{run_id!r:.80} cannot be part of a file name")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"code-review-{run_id}.md"
    _replace(target, render(summary))
    return Posted(
        issues_found=len(summary["findings"]), summary=summary["summary"], report=str(target)
    )


def _replace(target: Path, text: str) -> None:
    """A reader sees the old page or the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".code-review-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(target)


def render(summary: Summary) -> str:
    """The page. What came out of the repository is quoted as code, never as markup."""
    parts = [f"# {summary['title']}", "", summary["summary"], ""]
    parts += [f"- {note}" for note in summary["notes"]]
    counts = Counter(finding["rule"] for finding in summary["findings"])
    if counts:
        parts += ["", "| rule | findings |", "|---|---|"]
        parts += [f"| {_code(rule)} | {count} |" for rule, count in counts.most_common()]
    for path in dict.fromkeys(finding["path"] for finding in summary["findings"]):
        parts += ["", f"## {_code(path)}", ""]
        parts += [
            f"- line {finding['line']}: {_code(finding['rule'])} {_code(finding['message'])}"
            for finding in summary["findings"]
            if finding["path"] == path
        ]
    return "\n".join(parts) + "\n"


def _code(text: str) -> str:
    return "`" + re.sub(r"[`|\x00-\x1f\x7f-\x9f]", "'", text) + "`"
