"""The examples under ``workflow`` in the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.cli.reference.conftest import DEPLOY, REVIEW, Register
from tests.cli.reference.shape import shown


def _file(path: Path, name: str, steps: object, **more: object) -> Path:
    path.write_text(json.dumps({"name": name, "version": "1.0.0", "steps": steps, **more}))
    return path


def test_list(shop: World, register: Register) -> None:
    shop("clean", "--type=defs", "--force")
    register("code-review", *REVIEW, timeout="30m")
    register("deploy-pipeline", *DEPLOY)
    shown(
        shop("workflow", "list").out,
        """
# NAME STEPS TIMEOUT
# code-review 5 30m0s
# deploy-pipeline 3 none
""",
    )
    first = shop("workflow", "list", "--json").json[0]
    assert list(first)[:1] == ["name"]
    assert first["name"] == "code-review"
    assert [step["id"] for step in first["steps"]] == [step["id"] for step in REVIEW]
    assert first["timeout"] == "30m"


def test_register(shop: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shop("clean", "--type=defs", "--force")
    _file(tmp_path / "workflow.json", "code-review", REVIEW, timeout="30m")
    done = shop("workflow", "register", "workflow.json")
    assert done.out == "Workflow created: code-review (5 steps)\n"
    assert done.err == ""
    shop("workflow", "delete", "code-review", "--yes")
    assert shop("workflow", "register", "workflow.json", "--json").out == (
        '{"name":"code-review","action":"created","steps":5}\n'
    )


def test_register_updates_and_warns(
    shop: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _file(tmp_path / "workflow.json", "warned", [{"id": "a", "task": "nobody.does"}])
    shop("workflow", "register", "workflow.json")
    done = shop("workflow", "register", "workflow.json")
    assert done.out == "Workflow updated: warned (1 steps)\n"
    assert done.err == 'Warning: no active worker for task "nobody.does"\n'


def test_show(shop: World, register: Register) -> None:
    steps = (
        {"id": "fetch-diff", "task": "git.fetch-diff"},
        {"id": "lint", "task": "lint.run", "depends_on": ["fetch-diff"]},
        {"id": "review-loop", "task": "agent.code-review", "depends_on": ["fetch-diff"]},
    )
    register("code-review", *steps, timeout="30m")
    done = shop("workflow", "show", "code-review")
    shown(
        done.out,
        """
# Name: code-review
# Version: 1.0.0
# Steps: 3
# Timeout: 30m0s
#
# ID TASK DEPENDS ON
# fetch-diff git.fetch-diff -
# lint lint.run fetch-diff
# review-loop agent.code-review fetch-diff
""",
    )
    assert shop("workflow", "show", "code-review", "--json").json["version"] == "1.0.0"


def test_validate(shop: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nowhere = {"DAGNATS_NATS_URL": "nats://127.0.0.1:1"}
    _file(tmp_path / "workflow.json", "code-review", REVIEW)
    _file(tmp_path / "bad.json", "bad", [{"id": "x", "task": "t", "depends_on": ["y"]}])
    done = shop("workflow", "validate", "workflow.json", env=nowhere)
    assert (done.code, done.out) == (0, "Valid: code-review (5 steps)\n")
    bad = shop("workflow", "validate", "bad.json", env=nowhere)
    assert bad.code == 1
    assert bad.err.splitlines()[0] == 'invalid: step "x" depends on non-existent step "y"'
    assert shop("workflow", "validate", "workflow.json", "--json").out == (
        '{"valid":true,"name":"code-review","steps":5}\n'
    )
