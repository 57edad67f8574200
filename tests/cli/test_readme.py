"""The ten minutes of the README, line by line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.cli.runner import Result
from tests.cli.test_groups import wait_for
from tests.cli.test_long_running import running

ROOT = Path(__file__).parents[2]


def _tour() -> tuple[list[str], str]:
    """The commands to type, and the worker to write."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Ten minutes\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    prose = section.replace(code[0], "")
    return re.findall(r"^ {4}(\S.*)$", prose, re.MULTILINE), code[1]


def test_the_tour(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, code = _tour()
    assert lines[3:7] == ["dagnats serve", "dagnats init shop", "cd shop", "dagnats dev"]
    monkeypatch.chdir(tmp_path)
    assert world("init", "shop").code == 0
    monkeypatch.chdir("shop")
    Path("main.py").write_text(code)
    with running(world, "dev") as dev:
        dev.saw("serves process")
        said = {line: _typed(world, line) for line in lines[7:]}
        assert dev.interrupt() == 0
    assert [line for line, done in said.items() if done.code] == []
    first = next(done for line, done in said.items() if "--output" in line)
    assert first.lines[-1] == '{"total":6}'
    assert " failed " in said["dagnats run list --status=failed"].out
    assert "KeyError: 'count'" in said["dagnats run inspect --last"].out
    assert said["dagnats dlq list"].lines[1].startswith("1 ")
    assert "Run completed: " in said["dagnats run watch --last"].out
    assert said["dagnats run output --last"].out == '{"total":6}\n'
    assert "workflow.reopened" in said["dagnats run events --last"].out


def _typed(world: World, line: str) -> Result:
    program, *words = shlex.split(line)
    assert program == "dagnats"
    done = world(*words)
    if words[:2] == ["run", "start"]:  # A person types the next line after it has ended.
        run_id = done.lines[0].removeprefix("Started: ")
        wait_for(lambda: world("run", "status", run_id, "--json").json.get("completed_at"))
        wait_for(lambda: "--watch" in words or world("dlq", "list", "--json").json)
    if words[:2] == ["dlq", "replay"]:
        wait_for(lambda: world("run", "status", "--last", "--json").json["status"] != "failed")
    return done
