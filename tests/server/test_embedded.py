"""The embedded nats-server, as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from dagnats.errors import DagnatsError
from dagnats.server.embedded import EmbeddedServer, NatsSettings, find_binary, free_port
from dagnats.server.guard import PipeGuard
from dagnats.server.natsconf import MAX_PAYLOAD
from tests.conftest import eventually
from tests.server.processes import alive


@pytest.fixture
def settings(tmp_path: Path) -> NatsSettings:
    return NatsSettings(data_dir=tmp_path / "data", port=free_port())


@pytest.fixture
async def server(settings: NatsSettings) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(settings)
    await server.start()
    yield server
    await server.stop()


async def test_it_answers_and_takes_large_messages(server: EmbeddedServer) -> None:
    client = await nats.connect(server.url)
    assert client.max_payload == MAX_PAYLOAD
    assert (await client.jetstream().account_info()).limits is not None
    await client.close()


async def test_stop_ends_the_child(server: EmbeddedServer) -> None:
    pid = server.pid
    await server.stop()
    assert not alive(pid)
    assert not server.running
    await server.stop()


async def test_its_files_are_ours_alone(server: EmbeddedServer) -> None:
    assert stat.S_IMODE(server.settings.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.conf.stat().st_mode) == 0o600


async def test_a_killed_server_comes_back_with_its_data(server: EmbeddedServer) -> None:
    client = await nats.connect(server.url, reconnect_time_wait=0.05)
    stream = client.jetstream()
    await stream.add_stream(name="KEPT", subjects=["kept"])
    await stream.publish("kept", b"still here")
    first = server.pid
    os.kill(first, signal.SIGKILL)

    async def back() -> bool:
        return server.restarts == 1 and server.running and server.pid != first

    await eventually(back)

    async def readable() -> bool:
        return client.is_connected and (await stream.get_msg("KEPT", 1)).data == b"still here"

    await eventually(readable)
    await client.close()


async def test_stop_during_the_pause_before_a_restart(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)

    async def gone() -> bool:
        return not server.running

    await eventually(gone)
    await server.stop()
    assert not server.running


async def test_a_foreign_server_on_the_port_is_not_taken_for_ours(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    other = EmbeddedServer(NatsSettings(data_dir=tmp_path / "other", port=server.settings.port))
    with pytest.raises(DagnatsError, match="ended at once") as refused:
        await other.start()
    assert "address already in use" in refused.value.hint
    assert not other.running


async def test_log_lines_are_forwarded(
    settings: NatsSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="dagnats.nats")
    server = EmbeddedServer(settings)
    await server.start()
    await server.stop()
    assert "Server is ready" in caplog.messages


CHILD = """
import asyncio, sys
from pathlib import Path
from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port

async def main():
    server = EmbeddedServer(NatsSettings(data_dir=Path(sys.argv[1]), port=free_port()))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_dies_with_its_killed_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert alive(child)
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not alive(child)

    await eventually(gone, 2.0)


GUARDED = """
import asyncio, sys
from dagnats.server.guard import PipeGuard

async def main():
    guard = PipeGuard(int(sys.argv[1]))
    await guard.start()
    print("armed", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_portable_guard_ends_its_ward_when_the_parent_is_killed() -> None:
    ward = await asyncio.create_subprocess_exec("sleep", "60")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GUARDED, str(ward.pid), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"armed\n"
    parent.kill()
    await parent.wait()
    assert await asyncio.wait_for(ward.wait(), 2.0) == -signal.SIGTERM


async def test_the_portable_guard_lets_go() -> None:
    ward = await asyncio.create_subprocess_exec("sleep", "60")
    guard = PipeGuard(ward.pid)
    await guard.start()
    await guard.stop()
    assert ward.returncode is None
    ward.kill()
    await ward.wait()


async def test_all_settings_reach_the_server(tmp_path: Path) -> None:
    cluster = free_port() % 20000 + 20000
    settings = NatsSettings(
        data_dir=tmp_path / 'a "quoted" place',
        port=cluster,
        sync="30s",
        monitor_port=free_port(),
        ws_port=free_port(),
        ws_no_tls=True,
        cluster_name="prod",
        cluster_routes=("nats-route://127.0.0.1:1", "nats-route://127.0.0.1:2"),
        cluster_token='s"ecret/@',
    )
    server = EmbeddedServer(settings)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.monitor_port)
    writer.write(b"GET /varz HTTP/1.0\r\n\r\n")
    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await server.stop()
    varz = json.loads(body)
    assert varz["cluster"]["name"] == "prod"
    assert len(varz["cluster"]["urls"]) == 2
    assert varz["websocket"]["no_tls"] is True
    assert varz["jetstream"]["config"]["sync_interval"] == 30_000_000_000


async def test_a_leaf_remote_is_configured(tmp_path: Path) -> None:
    settings = NatsSettings(
        data_dir=tmp_path / "data", port=free_port(), leaf_remotes=("nats-leaf://127.0.0.1:1",)
    )
    server = EmbeddedServer(settings)
    await server.start()
    await server.stop()
    assert "nats-leaf://127.0.0.1:1" in server.conf.read_text()


def test_the_named_binary_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "mine"
    own.touch()
    monkeypatch.setenv("DAGNATS_NATS_SERVER", str(own))
    assert find_binary() == own
    monkeypatch.setenv("DAGNATS_NATS_SERVER", str(tmp_path / "missing"))
    with pytest.raises(DagnatsError, match="missing"):
        find_binary()


def test_the_binary_is_found_when_not_beside_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGNATS_NATS_SERVER", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    assert find_binary().name == "nats-server"
