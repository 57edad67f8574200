"""`dagnats demo` from beginning to end, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo prints, and the temporary directory it had."""
    scratch = tmp_path_factory.mktemp("scratch")
    done = subprocess.run(
        [sys.executable, "-m", "dagnats", "demo"],
        env=os.environ | {"TMPDIR": str(scratch), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, scratch


def test_the_review_ran_and_wrote_its_report(shown: tuple[str, Path]) -> None:
    text, _ = shown
    assert "issues_found" in text
    assert "# Code review" in text


def test_each_flow_ended_as_it_should(shown: tuple[str, Path]) -> None:
    text, _ = shown
    table = text.rpartition("$ dagnats run list")[2].partition("$ ")[0]
    ended = {
        row.split()[1]: row.split()[2]
        for row in table.split("STEPS\n")[1].splitlines()
        if row.strip()
    }
    assert ended == {
        "code-review": "completed",
        "flaky-import": "completed",
        "charge-card": "failed",
        "nightly-digest": "completed",
        "release": "completed",
    }
    assert "card declined" in text.rpartition("$ dagnats dlq list")[2]


def test_nothing_is_left(shown: tuple[str, Path]) -> None:
    _, scratch = shown
    assert list(scratch.iterdir()) == []
