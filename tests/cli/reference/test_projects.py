"""The examples under ``serve``, ``init`` and ``dev`` in the reference."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from dagnats.server.embedded import free_port
from tests.cli.conftest import World
from tests.cli.reference.shape import shown
from tests.cli.test_dispatch import PROGRAM
from tests.cli.test_long_running import Running, running

GO = """\
#!/bin/sh
# Stands for the go tool: "builds" a program that says it is up, unless the sources are broken.
if grep -q broken *.go; then echo "main.go:1: syntax error" >&2; exit 1; fi
printf '#!/bin/sh\\necho up $DAGNATS_DEV_MODE\\nexec sleep 60\\n' > "$3"
chmod +x "$3"
"""


def test_serve(tmp_path: Path) -> None:
    port = free_port()
    env = {
        **os.environ,
        "DAGNATS_HTTP_ADDR": f"127.0.0.1:{port}",
        "DAGNATS_DATA_DIR": str(tmp_path / "data"),
        "DAGNATS_NATS_PORT": str(free_port()),
    }
    with subprocess.Popen(
        [*PROGRAM, "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        cwd=tmp_path,
    ) as child:
        try:
            server = Running(child)
            server.saw("nats://127.0.0.1:")
            assert server.interrupt(signal.SIGTERM) == 0
        finally:
            child.kill()


def test_init(shop: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = shop("init", "my-pipeline", "--lang=go")
    shown(
        done.out,
        """
# Created my-pipeline/
# my-pipeline/workflow.json
# my-pipeline/main.go
""",
    )
    assert shop("init", "other-pipeline", "--lang=go", "--json").out == (
        '{"name":"other-pipeline","directory":"other-pipeline","files":["workflow.json","main.go"]}\n'
    )
    python = shop("init", "third-pipeline")
    shown(
        python.out,
        """
# Created third-pipeline/
# third-pipeline/workflow.json
# third-pipeline/main.py
""",
    )


def test_init_workflow(shop: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("init", "workflow", "image-pipeline", "--steps=fetch,resize,upload", "--lang=go")
    shown(
        shop(*words).out,
        """
# Created image-pipeline.json
#
# Register handlers in your worker:
#
# w.Handle("image-pipeline-fetch", handleFetch)
# w.Handle("image-pipeline-resize", handleResize)
# w.Handle("image-pipeline-upload", handleUpload)
""",
    )
    assert '"$schema"' in Path("image-pipeline.json").read_text()
    shown(
        shop("init", "workflow", "simple-job", "--lang=go").out,
        """
# Created simple-job.json
#
# Register handlers in your worker:
#
# w.Handle("simple-job-process", func(ctx worker.TaskContext) error {
# input := ctx.Input()
# // TODO: implement process logic
# return ctx.Complete(input)
# })
""",
    )


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(GO)
    (tools / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def _sources(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"file{number}.go").write_text("package main\n")
    (folder / "skipped_test.go").write_text("package main\n")
    for name in ("vendor", ".hidden"):
        (folder / name).mkdir()
        (folder / name / "x.go").write_text("package x\n")


@pytest.mark.usefixtures("go")
def test_dev(shop: World, tmp_path: Path) -> None:
    project = tmp_path / "project"
    _sources(project, 42)
    with running(shop, "dev", "--delay=100", cwd=project) as dev:
        dev.saw("up true")
        (project / "file0.go").write_text("package main // changed\n")
        dev.saw("[dev] restarted")
        (project / "file0.go").write_text("broken\n")
        assert "main.go:1: syntax error" in dev.saw("keeping old process")
        assert dev.interrupt() == 0
    said = [line for line in dev.lines if line.startswith("[dev]") and "keeping" not in line]
    assert said == [
        "[dev] watching 42 files in .",
        "[dev] building...",
        "[dev] started",
        "[dev] change detected, rebuilding...",
        "[dev] restarted",
        "[dev] change detected, rebuilding...",
        "[dev] shutting down...",
    ]
    assert (project / ".gitignore").read_text() == ".dagnats-dev\n"
    assert not (project / ".dagnats-dev").exists()


@pytest.mark.usefixtures("go")
def test_dev_in_another_directory(shop: World, tmp_path: Path) -> None:
    _sources(tmp_path / "cmd" / "worker", 12)
    with running(shop, "dev", "--dir=./cmd/worker", "--delay=1000", cwd=tmp_path) as dev:
        dev.saw("up true")
        assert dev.interrupt() == 0
    assert [line for line in dev.lines if line.startswith("[dev]")] == [
        "[dev] watching 12 files in ./cmd/worker",
        "[dev] building...",
        "[dev] started",
        "[dev] shutting down...",
    ]
