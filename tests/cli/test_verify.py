"""``dagnats verify`` on a workflow and worker of a user's own."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.runner import cli

WORKFLOW = {
    "name": "mine",
    "version": "1",
    "steps": [
        {"id": "first", "task": "mine.do", "type": "normal"},
        {"id": "then", "task": "mine.do", "type": "normal", "depends_on": ["first"]},
    ],
}
WORKER = """
from dagnats import Worker

worker = Worker(concurrency=20)


@worker.task("mine.do", ack_wait=1.0)
async def do(ctx) -> dict:
    return {"step": ctx.step_id}


worker.run()
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "workflow.json").write_text(json.dumps(WORKFLOW))
    (tmp_path / "worker.py").write_text(WORKER)
    return tmp_path


def command(folder: Path) -> str:
    return shlex.join([sys.executable, str(folder / "worker.py")])


@pytest.mark.skipif(sys.platform != "linux", reason="finds the child through /proc")
def test_what_is_killed_comes_back_and_the_runs_are_counted(mine: Path) -> None:
    shown = cli(
        *("verify", str(mine / "workflow.json"), "--worker", command(mine), "--json"),
        *("--runs=12", "--kills=3", "--seed=4", "--input", "{}"),
    )
    assert shown.code == 0, shown.err
    verdict = shown.json
    assert verdict["statuses"] == {"completed": 12}
    assert (verdict["lost"], verdict["stuck"], verdict["left_over"]) == (0, 0, 0)
    assert sum(row["kills"] for row in verdict["faults"]) == 3
    assert [(row["step"], row["results"], row["doubled"]) for row in verdict["steps"]] == [
        ("first", 12, 0),
        ("then", 12, 0),
    ]
    assert "kill 3 of 3" in shown.err


def test_a_worker_that_ends_at_once(mine: Path) -> None:
    (mine / "worker.py").write_text("raise SystemExit('no card reader')")
    shown = cli("verify", str(mine / "workflow.json"), "--worker", command(mine))
    assert shown.code == 1
    assert "the worker ended by itself" in shown.err
    assert "no card reader" in shown.err


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        (["--worker", "no-such-command-anywhere"], 1, "cannot start no-such-command-anywhere"),
        (["--worker", ""], 2, "--worker is empty"),
        (["--worker", "'"], 2, "--worker cannot be read"),
        (["--worker", "x", "--runs=0"], 2, "--runs must be between 1 and 10000"),
        (["--worker", "x", "--kills=1001"], 2, "--kills must be between 1 and 1000"),
        (["--worker", "x", "--timeout=0"], 2, "--timeout must be at least 1"),
        (["--worker", "x", "--only=disk"], 2, 'unknown --only "disk"'),
        (["--worker", "x", "--input={"], 1, "input is not JSON"),
        ([], 2, "--worker"),
    ],
)
def test_wrong_values(mine: Path, more: list[str], code: int, text: str) -> None:
    shown = cli("verify", str(mine / "workflow.json"), *more)
    assert shown.code == code, shown.err
    assert text in shown.err
    assert "Traceback" not in shown.err


def test_a_workflow_that_is_none(mine: Path) -> None:
    (mine / "workflow.json").write_text("{")
    assert cli("verify", str(mine / "workflow.json"), "--worker=x").code == 1
    assert cli("verify", str(mine / "none.json"), "--worker=x").code == 1
