"""``dagnats workflow simulate``: no server, a picture for people, exact figures for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import cli


@pytest.fixture
def file(tmp_path: Path) -> str:
    retry = {"max_attempts": 1, "initial_delay": "1m"}
    steps: list[dict[str, Any]] = [
        {"id": "a", "task": "t", "retry": retry},
        {"id": "b", "task": "t", "depends_on": ["a"]},
        {"id": "h", "task": "t"},
    ]
    steps[1]["on_failure"] = "h"
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"name": "w", "version": "1", "steps": steps}))
    return str(path)


def test_a_picture_of_what_would_happen(file: str) -> None:
    done = cli("workflow", "simulate", file, "--fail", "a=1", "--duration", "b=1m", "--events")
    assert done.code == 0, done.err
    assert done.lines[:4] == [
        "Workflow: w (simulated; nothing was executed)",
        "Status:   completed",
        "Took:     2m",
        "",
    ]
    table = [line.split() for line in done.lines[4:8]]
    assert table[0] == ["STEP", "STATUS", "BEGAN", "TOOK", "ATTEMPTS", "TIMELINE"]
    assert table[1] == ["a", "completed", "0s", "1m", "2", "░" * 20 + "·" * 20]
    assert table[2] == ["b", "completed", "1m", "1m", "1", "·" * 20 + "█" * 20]
    assert table[3] == ["h", "pending", "-", "-", "-"]
    assert ["1m", "step.started", "a", "2"] in [line.split() for line in done.lines]


def test_figures_for_programs_and_an_exit_code(file: str) -> None:
    done = cli("workflow", "simulate", file, "--fail", "b", "--fail", "h", "--json")
    assert (done.code, done.json["status"]) == (3, "compensate_failed")
    assert done.json["error"] == "compensation failed: simulated failure"
    assert done.json["steps"][0] == {
        "step": "a",
        "type": "normal",
        "status": "completed",
        "attempts": 1,
        "begin": "0s",
        "end": "0s",
    }
    assert done.json["moments"][-1] == {"at": "0s", "type": "workflow.failed"}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--fail", "x"], 2, "no step"),
        (["--fail", "a=many"], 2, "not a whole number"),
        (["--duration", "a"], 2, "STEP=VALUE"),
        (["--duration", "a=soon"], 2, "--duration"),
        (["--output", "a={"], 1, "not JSON"),
        (["--fail", "a", "--fail", "a=1"], 2, "twice"),
        (["--at", "noon"], 2, "--at"),
        (["--child", "nowhere.json"], 1, "no such file"),
    ],
)
def test_wrong_options_are_refused(file: str, options: list[str], code: int, said: str) -> None:
    done = cli("workflow", "simulate", file, *options)
    assert (done.code, said in done.err) == (code, True), done.err


def test_an_invalid_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text('{"name":"w","version":"1","steps":[]}')
    assert cli("workflow", "simulate", str(path)).code == 1
