"""Where the demo lives: children are ended, folders removed, the user's settings kept out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dagnats.demo.place import Place, example_folder, workflow_folder
from dagnats.errors import DagnatsError

SLEEPER = """
import os, pathlib, time
pathlib.Path("new").write_text(str(os.getpid()))
os.rename("new", "pid")
time.sleep(60)
"""


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_nothing_is_left(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    with Place() as place:
        place.work(script)
        folder = place.folder
        until((folder / "pid").is_file)
        child = int((folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not folder.exists()


def test_a_worker_that_ended_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no such luck')")
    with Place() as place:
        place.work(script)
        with pytest.raises(DagnatsError, match="no such luck"):
            until(lambda: place.check() is not None)


def test_the_user_s_own_server_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://elsewhere:4222")
    monkeypatch.setenv("DAGNATS_CONTEXT", "production")
    with Place() as place:
        names = {key for key in place.environment if "NATS" in key}
        assert names == {"DAGNATS_NATS_URL", "DAGNATS_REPORT_DIR"}
        assert place.environment["DAGNATS_NATS_URL"] == place.url


def test_what_it_runs_is_there() -> None:
    assert (example_folder() / "workflow.json").is_file()
    assert (workflow_folder() / "worker.py").is_file()
