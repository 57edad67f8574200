"""The worker of the workflow ``code-review``: what each of its five steps does.

Start it with ``python worker.py``; it connects as every dagnats tool does (``DAGNATS_NATS_URL``,
else the local server). Reports go to ``DAGNATS_REPORT_DIR``, else to the current directory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypedDict

import diffs
import linting
import report
import rules

from dagnats import Continue, NonRetryableError, SyncTaskContext, Worker

worker = Worker(name="code-review")


class Review(TypedDict):
    """What ``agent.code-review`` hands from one iteration to the next, and returns at the end."""

    label: str
    range: str
    hunks: list[diffs.Hunk]
    hunks_left_out: int
    reviewed: int
    findings: list[linting.Finding]


@worker.task("git.fetch-diff")
def fetch_diff(request: Any = None) -> diffs.Diff:
    """Read the diff; a request we refuse is refused for good."""
    try:
        return diffs.fetch(diffs.read_request(request))
    except diffs.RequestError as error:
        raise NonRetryableError(str(error)) from None


@worker.task("lint.run")
def lint(diff: diffs.Diff) -> linting.Lint:
    """Run the linter over the files the diff touches."""
    return linting.lint(diff["sources"])


@worker.task("agent.code-review")
def review_next(given: dict[str, Any]) -> Review | Continue:
    """Review one hunk, then ask for another iteration until none is left.

    The first iteration gets the diff, each later one what the iteration before it handed on.
    """
    first, rest = given["hunks"][:1], given["hunks"][1:]
    findings = given.get("findings", [])
    state = Review(
        label=given["label"],
        range=given["range"],
        hunks=rest,
        hunks_left_out=given["hunks_left_out"],
        reviewed=given.get("reviewed", 0) + len(first),
        findings=[*findings, *(found for hunk in first for found in rules.review(hunk))],
    )
    return Continue(state) if rest else state


@worker.task("review.summarize")
def summarize(results: dict[str, Any]) -> report.Summary:
    """Put the linter's and the reviewer's findings together."""
    return report.summarize(results["lint"], results["review-loop"])


@worker.task("review.post-results")
def post_results(ctx: SyncTaskContext, summary: report.Summary) -> report.Posted:
    """Write the report; it is the run's output."""
    folder = Path(os.environ.get("DAGNATS_REPORT_DIR") or ".").resolve()
    return report.write(folder, ctx.run_id, summary)


if __name__ == "__main__":
    worker.run()
