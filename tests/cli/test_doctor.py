"""``dagnats doctor``: on a live server, and on what a stopped one left behind."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.services.recording import record
from dagnats.services.session import Session
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.topology import provision
from tests.cli.runner import Result, cli


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a server left: ``store`` is its data, ``file`` a recording; one bucket is missing."""
    folder = tmp_path_factory.mktemp("left")

    async def make() -> None:
        settings = NatsSettings(data_dir=folder / "store", port=free_port(), sync="2m")
        server = EmbeddedServer(settings)
        await server.start()
        bus = await connect(ConnectOptions(url=server.url))
        await provision(bus)
        await bus.api("STREAM.DELETE.KV_checkpoints")
        await record(Session(bus, actor="tester"), folder / "file")
        await bus.close()
        await server.stop()

    asyncio.run(make())
    return folder


def doctor(place: Path, *more: str, stdin: str = "") -> Result:
    return cli("doctor", "--server", str(place), *more, stdin=stdin)


@pytest.mark.parametrize("name", ["store", "file"])
def test_what_a_stopped_server_left(left: Path, name: str) -> None:
    shown = doctor(left / name)
    assert shown.code == 1
    assert shown.out.splitlines() == [
        "stored:",
        "  ✗ KV_checkpoints: is missing",
        "      --repair would create the streams, buckets and consumers that are missing",
        "sequences: ok",
        "runs (0 runs): ok",
    ]
    assert shown.err == ""


def test_as_json(left: Path) -> None:
    shown = doctor(left / "file", "--json")
    assert shown.code == 1
    report = json.loads(shown.out)
    assert [check["name"] for check in report["checks"]] == ["stored", "sequences", "runs"]
    (found,) = report["findings"]
    assert found["repair"] == {"cure": "provision"}
    assert found["severity"] == "error"


def test_nothing_is_repaired_unasked(left: Path) -> None:
    shown = doctor(left / "store", "--repair")
    assert shown.code == 2
    assert "--yes" in shown.err
    assert doctor(left / "store").code == 1


def test_a_repair(left: Path, tmp_path: Path) -> None:
    shutil.copytree(left / "store", tmp_path / "store")
    shown = doctor(tmp_path / "store", "--repair", "--yes")
    assert shown.code == 0
    assert shown.err == "create the streams, buckets and consumers that are missing\n"
    assert doctor(tmp_path / "store", "--runs=0").out.startswith("stored: ok\n")


def test_other_commands_read_a_recording_too(left: Path) -> None:
    shown = cli("run", "list", "--server", str(left / "file"), "--json")
    assert (shown.code, shown.out) == (0, "[]\n")


@pytest.mark.parametrize("value", ["-1", "many", ""])
def test_a_bad_number_of_runs(left: Path, value: str) -> None:
    assert doctor(left / "file", f"--runs={value}").code == 2


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nothing")
    shown = doctor(tmp_path / "x")
    assert shown.code == 1
    assert "is not a recording" in shown.err
    assert "Traceback" not in shown.err


def test_without_a_server() -> None:
    shown = cli("doctor", "--server", "nats://127.0.0.1:1")
    assert shown.code == 1
    assert "cannot connect" in shown.err
