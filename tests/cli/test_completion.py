"""Completion: scripts for shells, and the candidates they ask for."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dagnats.cli import COMMANDS
from tests.cli.conftest import World, step
from tests.cli.runner import cli
from tests.cli.test_dispatch import NOWHERE, PROGRAM
from tests.cli.test_groups import wait_for

Make = Callable[..., str]


def offered(*words: str, **env: str) -> list[str]:
    return cli("__complete", "--", *words, env={**NOWHERE, **env}).lines


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str) -> None:
    script = cli("completion", shell)
    assert "__complete" in script.out
    assert cli("completion", shell, "--json").json == {"shell": shell, "script": script.out}
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script.out, text=True, check=True, timeout=10)


def test_an_unknown_shell_is_refused() -> None:
    done = cli("completion", "csh")
    assert done.code == 2
    assert "csh" in done.err


def test_words_and_options() -> None:
    assert offered("") == [*COMMANDS, *offered("-")]
    assert {"--help", "--version", "--json", "--server"} <= set(offered("--"))
    assert offered("run", "sta") == ["start", "status"]
    assert offered("run", "list", "--sta") == ["--status", "--state"]
    assert offered("--json", "run", "sta") == ["start", "status"]
    assert offered("-o", "json", "work") == ["workflow", "workers"]
    assert offered("nope", "x") == []
    assert offered("status", "") == []


def test_fixed_words() -> None:
    assert offered("run", "list", "--status", "c") == [
        *("completed", "cancelled", "compensated", "compensate_failed")
    ]
    assert offered("run", "list", "--status", "=", "runn") == ["running"], "as bash splits it"
    assert offered("run", "list", "--status=runn") == ["--status=running"], "as others leave it"
    assert offered("run", "cancel-all", "--status", "") == ["running", "pending", "all"]
    assert offered("run", "retry-all", "--mode", "re") == ["rerun", "replay"]
    assert "step.failed" in offered("run", "events", "x", "--type", "step")
    assert offered("logs", "--level", "E") == ["ERROR"]
    assert offered("clean", "--type", "d") == ["dlq", "defs"]
    assert offered("init", "project", "--lang", "") == ["python", "go"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("run", "list", "-o", "js") == ["json", "jsonl"]
    assert offered("-o", "y") == ["yaml"]


def test_contexts(tmp_path: Path) -> None:
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    for name in ("home", "work"):
        (folder / f"{name}.json").write_text("{}")
    assert offered("run", "list", "--context", "", XDG_CONFIG_HOME=str(tmp_path)) == [
        *("home", "work")
    ]


def test_names_from_the_server(world: World, workflow: Make) -> None:
    def live(*words: str) -> list[str]:
        return offered(*words, DAGNATS_NATS_URL=world.url)

    name = workflow("complete-me", step("first", task="fail"))
    assert live("run", "start", "compl") == [name]
    assert live("workflow", "show", "compl") == [name]
    assert live("run", "list", "--workflow", "=", "compl") == [name]
    assert offered("-s", world.url, "run", "start", "compl") == [name], "where the line says"
    assert offered("run", "start", "-s", world.url, "compl") == [name]
    run_id = world("run", "start", name, "-o", "name").lines[0]
    wait_for(lambda: live("run", "status", run_id[:4]) == [run_id])
    assert live("dlq", "list", "--run", run_id[:4]) == [run_id]
    assert live("run", "status", run_id, "") == []
    for words in (["step", "retry", run_id], ["run", "rerun", run_id, "--from"]):
        assert live(*words, "") == ["first"]
    assert live("run", "approve", "--last", "") == ["first"]
    sequence = wait_for(lambda: live("dlq", "show", ""))[0]
    assert world("dlq", "show", sequence).code == 0
    made = world("trigger", "create", name, "--cron=0 0 1 1 *", "-o", "name").lines[0]
    assert live("trigger", "update", "trig") == [made]
    assert live("trigger", "delete", made[:9]) == [made]
    assert world("trigger", "delete", made).code == 0
    assert live("workers", "show", "") != []
    assert live("singleton", "release", "") == []


def test_silent_without_a_server() -> None:
    done = cli("__complete", "--", "run", "status", "", env={**NOWHERE, "NATS_URL": "x"})
    assert (done.code, done.out, done.err) == (0, "", "")


def test_never_slow() -> None:
    """A server that takes the connection and says nothing; a shell waits half a second at most."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        env = {**os.environ, "DAGNATS_NATS_URL": url}
        words = [*PROGRAM, "__complete", "--", "run", "status", ""]
        taken: list[float] = []
        for _ in range(3):
            begun = time.monotonic()
            done = subprocess.run(words, env=env, capture_output=True, check=False, timeout=10)
            taken.append(time.monotonic() - begun)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert min(taken) < 0.5 + _start(), "half a second, and the start of the interpreter"


def _start() -> float:
    """A generous time for what comes before the clock runs, on a machine as busy as it is now."""
    begun = time.monotonic()
    for _ in range(5):
        subprocess.run([sys.executable, "-c", "import nats, typer"], check=True, timeout=30)
    return (time.monotonic() - begun) / 5


def test_what_cannot_be_interrupted_ends_as_well() -> None:
    """As when the system looks up a name that nobody answers for."""
    code = (
        "import sys, time; from dagnats.cli import complete, main; "
        "complete.candidates = lambda *_: time.sleep(60); "
        "sys.argv = ['dagnats', '__complete', '--', '']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import dagnats.cli.complete; {code}"],
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), "it sleeps for a minute"


def test_bash_asks_and_takes_the_answer(world: World, workflow: Make, tmp_path: Path) -> None:
    name = workflow("by-bash")
    program = tmp_path / "dagnats"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dagnats "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(dagnats completion bash)"\n'
        "COMP_WORDS=(dagnats run start by-); COMP_CWORD=3; _dagnats\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DAGNATS_NATS_URL": world.url}

    def answer() -> str:
        return subprocess.check_output(["bash", "-c", script], env=env, text=True, timeout=20)

    # On a busy machine the server may not answer in time, which the shell takes for no names.
    assert wait_for(lambda: answer().strip()) == name
