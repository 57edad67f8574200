"""Every workflow file we ship is valid, as the command line sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE_REVIEW = ROOT / "examples" / "code-review" / "workflow.json"
FILES = [CODE_REVIEW, *sorted((ROOT / "src" / "dagnats" / "demo" / "workflows").glob("*.json"))]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_is_valid(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagnats", "workflow", "validate", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_code_review_is_the_one_the_reference_shows() -> None:
    definition = json.loads(CODE_REVIEW.read_bytes())
    assert (definition["name"], definition["version"]) == ("code-review", "1.0.0")
    assert (definition["timeout"], len(definition["steps"])) == ("30m", 5)
    rows = [(step["id"], step["task"], step.get("depends_on")) for step in definition["steps"][:3]]
    assert rows == [
        ("fetch-diff", "git.fetch-diff", None),
        ("lint", "lint.run", ["fetch-diff"]),
        ("review-loop", "agent.code-review", ["fetch-diff"]),
    ]
