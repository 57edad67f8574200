"""Commands that go on until they are interrupted: dlq watch, logs, dev, lists with --watch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagnats.model.times import format_time
from tests.cli.conftest import World, step
from tests.cli.test_dispatch import PROGRAM

Make = Callable[..., str]


class Running:
    """A program that is being watched."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.lines.append(line.rstrip("\n"))

    def saw(self, text: str, timeout: float = 15) -> str:
        deadline = time.monotonic() + timeout
        while True:
            if found := [line for line in self.lines if text in line]:
                return found[0]
            assert time.monotonic() < deadline, (text, self.lines)
            time.sleep(0.02)

    def interrupt(self, number: int = signal.SIGINT) -> int:
        self.child.send_signal(number)
        code = self.child.wait(15)
        self._reader.join(5)
        return code


@contextmanager
def running(world: World, *words: str, cwd: Path | None = None) -> Iterator[Running]:
    env = {**os.environ, "DAGNATS_NATS_URL": world.url, "NO_COLOR": "1"}
    with subprocess.Popen(
        [*PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        cwd=cwd,
    ) as child:
        try:
            yield Running(child)
        finally:
            child.kill()


def test_dlq_watch(world: World, workflow: Make) -> None:
    name = workflow("hopeless", step("a", task="fail"))
    with running(world, "dlq", "watch", "--interval=100ms", "--max-replays=2") as watch:
        watch.saw("Watching DLQ every 100ms (max 2 replays per message)")
        run_id = world("run", "start", name, "-o", "name").lines[0]
        first = watch.saw("[replay 1/2]")
        assert f"task=fail run={run_id[:8]} err=no such luck" in first
        watch.saw("[replay 2/2]")
        watch.saw("[skip exhausted 2/2]")
        assert watch.interrupt() == 0
    assert watch.lines[-2:] == ["", "Watch summary: 2 replayed, 1 exhausted"]
    assert len([line for line in watch.lines if "exhausted 2/2" in line]) == 1
    world("clean", "--type=dlq", "--force")


def test_dlq_watch_in_json(world: World, workflow: Make) -> None:
    name = workflow("hopeless", step("a", task="fail"))
    with running(world, "dlq", "watch", "--interval=100ms", "--max-replays=1", "--json") as watch:
        world("run", "start", name)
        watch.saw('"exhausted"')
        assert watch.interrupt(signal.SIGTERM) == 0
    documents = [json.loads(line) for line in watch.lines]
    assert [d.get("action") for d in documents] == ["replayed", "exhausted", None]
    assert documents[0]["attempt"] == 1
    assert documents[-1] == {"total_replayed": 1, "total_exhausted": 1}
    world("clean", "--type=dlq", "--force")


def _log(world: World, level: str, text: str) -> None:
    from dagnats.model.records import LogRecord

    record = LogRecord(
        timestamp=format_time(time.time_ns()),
        severity=level,
        body=text,
        attributes={"step": "lint", "run_id": "a1b2"},
        service_name="engine",
    )
    world.do(lambda session: session.stores.logs.append(record))


def test_logs(world: World) -> None:
    _log(world, "error", "step failed")
    _log(world, "info", "started run")
    tail = world("logs", "--tail=1", "--level=ERROR")
    stamp, _, rest = tail.out.partition(" ")
    assert len(stamp) == 8
    assert rest == "ERROR   engine  step failed [run_id=a1b2 step=lint]\n"
    assert len(world("logs", "--tail=10", "--service=engine").lines) == 2
    assert world("logs", "--tail=10", "--search=STARTED", "--json").json["body"] == "started run"
    assert len(world("logs", "--since=1h", "--run=a1b2", "--service=engine").lines) == 2
    assert world("logs", "--tail=10", "--service=api").out == ""
    with running(world, "logs", "--level=error") as follow:
        follow.saw("Tailing logs on telemetry.logs.*.ERROR ...")
        deadline = time.monotonic() + 10
        while not any("fresh" in line for line in follow.lines):
            assert time.monotonic() < deadline
            _log(world, "info", "not this")
            _log(world, "error", "fresh")
            time.sleep(0.1)
        assert follow.interrupt() == 0
    assert not any("not this" in line or "step failed" in line for line in follow.lines)


WORKER = """\
import os, sys, time
print("worker up", os.environ["DAGNATS_DEV_MODE"], {version}, flush=True)
time.sleep(60)
"""


def test_dev_restarts_a_python_project(world: World, tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(WORKER.format(version=1))
    (tmp_path / "test_main.py").write_text("")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.py").write_text("")
    with running(world, "dev", f"--dir={tmp_path}", "--delay=100") as dev:
        assert dev.saw("watching") == f"[dev] watching 1 files in {tmp_path}"
        dev.saw("[dev] started")
        dev.saw("worker up true 1")
        main.write_text(WORKER.format(version=22))
        dev.saw("[dev] change detected, restarting...")
        dev.saw("[dev] restarted")
        dev.saw("worker up true 22")
        main.write_text("raise SystemExit(7)\n")
        dev.saw("[dev] the process ended with code 7; waiting for a change")
        assert dev.interrupt() == 0
    assert dev.lines[-1] == "[dev] shutting down..."


def test_dev_keeps_what_works(world: World, tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(WORKER.format(version=1))
    with running(world, "dev", f"--dir={tmp_path}", "--delay=100") as dev:
        dev.saw("worker up true 1")
        main.write_text("def broken(:\n")
        said = dev.saw("keeping old process")
        assert said == "[dev] build failed (keeping old process): main.py:1: invalid syntax"
        assert not any("ended with code" in line for line in dev.lines)
        begun = time.monotonic()
        main.write_text(WORKER.format(version=22))
        dev.saw("worker up true 22")
        assert time.monotonic() - begun < 2, "under a second, where the machine has nothing else"
        assert dev.interrupt() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_dev_leaves_no_orphan(world: World, tmp_path: Path, number: int) -> None:
    (tmp_path / "main.py").write_text(
        "import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)\n"
    )
    with running(world, "dev", f"--dir={tmp_path}") as dev:
        pid = int(dev.saw("pid ").split()[1])
        dev.interrupt(number)
        deadline = time.monotonic() + 10
        while _alive(pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that has ended stays in the table until somebody asks for it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_dev_needs_something_to_watch(world: World, tmp_path: Path) -> None:
    assert "no .py or .go files" in world("dev", f"--dir={tmp_path}").err
    assert world("dev", f"--dir={tmp_path}/none").code == 1
    (tmp_path / "other.py").write_text("")
    assert "main.py" in world("dev", f"--dir={tmp_path}").err
    (tmp_path / "main.py").write_text("")
    assert (
        "cannot connect"
        in world("dev", f"--dir={tmp_path}", env={"DAGNATS_NATS_URL": "nats://127.0.0.1:1"}).err
    )


def test_lists_can_be_watched(world: World, workflow: Make) -> None:
    workflow("seen")
    assert world("workflow", "list", "--watch").code == 2
    with running(world, "workflow", "list", "--watch", "--json") as watch:
        assert json.loads(watch.saw("seen"))[0]["name"]
        assert watch.interrupt() == 0


def test_run_watch_is_interrupted_with_130(world: World, workflow: Make) -> None:
    name = workflow("waits", step("a", task="nobody"))
    with running(world, "run", "start", name, "--watch") as watch:
        watch.saw("workflow.started")
        assert watch.interrupt() == 130
    run_id = watch.lines[0].removeprefix("Started: ")
    assert world("run", "status", run_id, "--json").json["status"] == "running"


@pytest.mark.parametrize("lang", ["python", "go"])
def test_a_new_project_runs_as_it_is(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lang: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made = world("init", "my-pipeline", f"--lang={lang}", "--json").json
    main = {"python": "main.py", "go": "main.go"}[lang]
    assert made == {
        "name": "my-pipeline",
        "directory": "my-pipeline",
        "files": ["workflow.json", main],
    }
    again = world("init", "my-pipeline")
    assert (again.code, again.out) == (1, "")
    folder = tmp_path / "my-pipeline"
    assert world("workflow", "validate", str(folder / "workflow.json")).code == 0
    if lang == "go":
        assert "package main" in (folder / main).read_text()
        return
    assert world("workflow", "register", str(folder / "workflow.json")).code == 0
    env = {**os.environ, "DAGNATS_NATS_URL": world.url}
    with subprocess.Popen(
        [sys.executable, main], cwd=folder, env=env, stderr=subprocess.DEVNULL
    ) as child:
        done = world("run", "start", "my-pipeline", '{"n": 1}', "--watch", "--output")
        child.terminate()
        child.wait(15)
    assert done.code == 0, done.err
    assert done.lines[-1] == '{"processed":{"n":1}}'


def test_init_lists_what_it_wrote(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert world("init", "my-pipeline").out == (
        "Created my-pipeline/\n  my-pipeline/workflow.json\n  my-pipeline/main.py\n"
    )
    chain = world(
        *("init", "workflow", "image-pipeline", "--steps=fetch,resize,upload", "--lang=go")
    )
    assert chain.out == (
        "Created image-pipeline.json\n"
        "\n"
        "Register handlers in your worker:\n"
        "\n"
        '  w.Handle("image-pipeline-fetch", handleFetch)\n'
        '  w.Handle("image-pipeline-resize", handleResize)\n'
        '  w.Handle("image-pipeline-upload", handleUpload)\n'
    )
    written = json.loads((tmp_path / "image-pipeline.json").read_text())
    assert [(s["id"], s.get("depends_on")) for s in written["steps"]] == [
        ("fetch", None),
        ("resize", ["fetch"]),
        ("upload", ["resize"]),
    ]
    assert world("workflow", "register", "image-pipeline.json").code == 0
    assert '@worker.task("simple-job-process")' in world("init", "workflow", "simple-job").out
    for words in (
        ["simple-job"],
        ["x"],
        ["new", "--steps="],
        ["new", "--steps=a,a"],
        ["new", "--steps=a,,b"],
        ["new", "--steps=" + ",".join(f"s{i}" for i in range(21))],
    ):
        assert world("init", "workflow", *words).code == 1, words
    assert not (tmp_path / "new.json").exists()
