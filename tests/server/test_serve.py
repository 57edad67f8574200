"""``dagnats serve`` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dagnats.model.times import MILLISECOND
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow
from tests.runtime.test_engine import ended, start
from tests.server.processes import alive, child_of

NAP = flow({"id": "nap", "type": "sleep", "config": {"duration": 20 * MILLISECOND}}, name="nap")


class Serve:
    """A running ``dagnats serve --json``: its ready line, its process, what it wrote."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ready: dict[str, Any] = {}

    async def wait_ready(self, timeout: float = 20) -> None:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), timeout)
        if not line:
            code, written = await self.end(None)
            raise AssertionError(f"ended with {code}: {written}")
        self.ready = json.loads(line)

    async def end(self, number: int | None = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit code and all of standard error."""
        if number is not None and self.process.returncode is None:
            self.process.send_signal(number)
        assert self.process.stderr is not None
        written = await asyncio.wait_for(self.process.stderr.read(), 25)
        return await self.process.wait(), written.decode()

    @property
    def nats_pid(self) -> int:
        return child_of(self.process.pid)


class Place:
    """A directory to serve in, and an environment without settings of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        ours = ("DAGNATS_", "NATS_", "XDG_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self.env |= {"HOME": str(path), "COVERAGE_PROCESS_START": ""}

    def defaults(self) -> list[str]:
        port, http = free_port(), free_port()
        data = str(self.path / "data")
        return [f"--nats-port={port}", f"--http-addr=127.0.0.1:{http}", "--data-dir", data]

    async def run(self, *args: str) -> tuple[int, str, str]:
        """Run ``dagnats`` to its end: exit code, standard output, standard error."""
        process = await self.spawn(*args)
        out, err = await asyncio.wait_for(process.communicate(), 25)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def spawn(self, *args: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagnats", *args),
            cwd=self.path,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def serve(self, *args: str, defaults: bool = True) -> AsyncIterator[Serve]:
        given = self.defaults() if defaults else []
        server = Serve(await self.spawn("serve", "--json", "--sync=2m", *given, *args))
        try:
            await server.wait_ready()
            yield server
        finally:
            await server.end()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@asynccontextmanager
async def stores_of(server: Serve) -> AsyncIterator[Stores]:
    bus = await connect(ConnectOptions(url=server.ready["nats"]))
    yield Stores(bus)
    await bus.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_starts_and_a_signal_ends_it_in_order(place: Place, number: int) -> None:
    async with place.serve() as server:
        nats = server.nats_pid
        assert server.ready["status"] == "ready"
        assert server.ready["sync"] == "2m"
        code, written = await server.end(number)
    assert code == 0
    assert not alive(nats)
    bodies = [json.loads(line)["body"] for line in written.splitlines()]
    wanted = (
        *("no config file found, using defaults", "nats server started", "nats client connected"),
        *("streams and kv buckets ready", "orchestrator started", "ready"),
        *("stopping orchestrator...", "draining nats...", "shutdown complete"),
    )
    assert [body for body in bodies if body in wanted] == list(wanted)


async def test_it_runs_workflows_and_logs_their_life(place: Place) -> None:
    async with place.serve() as server, stores_of(server) as stores:
        run_id = await start(stores, NAP)
        assert (await ended(stores, run_id)).status == "completed"

        async def logged() -> bool:
            bodies = [
                record["body"]
                for record in await telemetry(stores)
                if record.get("attributes", {}).get("run_id") == run_id
            ]
            return bodies == ["run started", "run completed"]

        await eventually(logged)
        records = await telemetry(stores)
        ready = next(record for record in records if record["body"] == "server ready")
        assert (ready["severity"], ready["serviceName"]) == ("INFO", "server")


async def telemetry(stores: Stores) -> list[dict[str, Any]]:
    return [
        json.loads(body)
        async for _, _, body in stores.read_since("TELEMETRY", "telemetry.logs.>", 0)
    ]


async def test_a_killed_nats_server_comes_back_and_work_goes_on(place: Place) -> None:
    async with place.serve() as server, stores_of(server) as stores:
        before = await start(stores, NAP)
        await ended(stores, before)
        first = server.nats_pid
        os.kill(first, signal.SIGKILL)
        after = await start(stores, NAP)
        assert (await ended(stores, after)).status == "completed"
        assert (await ended(stores, before)).status == "completed"
        assert server.nats_pid != first


async def test_a_killed_server_takes_nats_along_and_keeps_its_data(place: Place) -> None:
    args = place.defaults()
    async with place.serve(*args, defaults=False) as server:
        nats = server.nats_pid
        async with stores_of(server) as stores:
            run_id = await start(stores, NAP)
            await ended(stores, run_id)
        server.process.kill()
        await server.process.wait()

        async def gone() -> bool:
            return not alive(nats)

        await eventually(gone, 2.0)
    async with place.serve(*args, defaults=False) as server, stores_of(server) as stores:
        assert (await ended(stores, run_id)).status == "completed"


async def test_two_servers_do_not_share_a_data_directory(place: Place) -> None:
    async with place.serve() as server:
        code, _, err = await place.run("serve", *place.defaults())
        assert code == 1
        assert f"is in use by another server (process {server.process.pid})" in err
        assert "Traceback" not in err


async def test_paused_from_the_start(place: Place) -> None:
    async with place.serve("--paused") as server, stores_of(server) as stores:
        assert await stores.engine_control.get("pause") is not None


async def test_it_tells_how_it_keeps_data(place: Place) -> None:
    async with place.serve() as server, stores_of(server) as stores:
        entry = await stores.engine_state.get("server")
        assert entry is not None
        assert json.loads(entry.value)["sync"] == "2m"


async def test_an_external_nats(place: Place, nats_server: EmbeddedServer) -> None:
    args = (f"--nats-url={nats_server.url}", f"--http-addr=127.0.0.1:{free_port()}")
    process = await place.spawn("serve", "--json", *args)
    server = Serve(process)
    await server.wait_ready()
    assert server.ready["nats"] == nats_server.url
    async with stores_of(server) as stores:
        assert (await ended(stores, await start(stores, NAP))).status == "completed"
    assert (await server.end())[0] == 0
    assert not list(place.path.glob(".local/**/serve.lock"))


async def test_no_nats_at_the_address_given(place: Place) -> None:
    url = f"nats://me:secret@127.0.0.1:{free_port()}"
    code, _, err = await place.run("serve", f"--nats-url={url}", f"--http-addr=:{free_port()}")
    assert code == 1
    assert "Error: cannot connect to NATS at" in err
    assert "Hint: check nats_url and its credentials" in err
    assert "secret" not in err


@pytest.fixture
async def taken() -> AsyncIterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])


async def test_a_chosen_port_that_is_taken(place: Place, taken: int) -> None:
    code, _, err = await place.run("serve", *place.defaults(), f"--nats-port={taken}")
    assert code == 1
    assert f"nats_port: 127.0.0.1:{taken} is in use" in err


@pytest.fixture
def default_taken() -> Any:
    """Somebody listens on the default HTTP port; who does not matter."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", 8080))
            listener.listen(1)
        except OSError:
            pass
        yield


async def test_a_default_port_that_is_taken(place: Place, default_taken: None) -> None:
    args = [f"--nats-port={free_port()}", "--data-dir", str(place.path / "data")]
    async with place.serve(*args, defaults=False) as server:
        code, written = await server.end()
    assert code == 0
    assert "127.0.0.1:8080 is in use: http_addr falls back to" in written
    code, _, err = await place.run("serve", "--fail-on-port-conflict", *args)
    assert code == 1
    assert "http_addr: 127.0.0.1:8080 is in use" in err


async def test_a_second_signal_ends_it_at_once(place: Place) -> None:
    async with place.serve() as server:
        nats = server.nats_pid
        os.kill(nats, signal.SIGSTOP)  # nothing answers any more: the drain would take a while
        try:
            server.process.send_signal(signal.SIGTERM)
            assert server.process.stderr is not None
            async for line in server.process.stderr:
                if b"stopping orchestrator" in line:
                    break
            assert (await server.end(signal.SIGINT))[0] == 130
        finally:
            os.kill(nats, signal.SIGCONT)

        async def gone() -> bool:
            return not alive(nats)

        await eventually(gone, 3.0)


async def test_it_dies_with_its_parent_when_told(place: Place) -> None:
    words = [sys.executable, "-m", "dagnats", "serve", "--die-with-parent", "--json"]
    script = '"$@" & echo $!; wait'
    parent = await asyncio.create_subprocess_exec(
        *("sh", "-c", script, "sh", *words, *place.defaults()),
        cwd=place.path,
        env=place.env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert json.loads(await parent.stdout.readline())["status"] == "ready"
    nats = child_of(pid)
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not alive(pid) and not alive(nats)

    await eventually(gone, 5.0)


async def test_what_a_person_sees(place: Place) -> None:
    process = await place.spawn("serve", *place.defaults())
    assert process.stderr is not None
    seen = ""
    while "  sync" not in seen:
        seen += (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
    process.terminate()
    out, rest = await process.communicate()
    assert out == b""
    assert seen.startswith("   no config file found, using defaults\n   • nats server started\n")
    assert re.search(r"^  nats  nats://127\.0\.0\.1:\d+$", seen, re.MULTILINE)
    assert "  sync  always: every acknowledged write is on disk" in seen
    assert rest.decode().endswith("   • shutdown complete\n")


class TestDryRun:
    async def test_all_is_well(self, place: Place) -> None:
        (place.path / "dagnats.yaml").write_text("sync: 2m\napi_token: hunter2\n")
        code, out, err = await place.run("serve", "--dry-run", *place.defaults())
        assert (code, err) == (0, "")
        assert out.startswith("Config source: dagnats.yaml\n")
        assert re.search(r"sync: +2m \(from file\)", out)
        assert re.search(r"nats_port: +\d+ \(from flag\)", out)
        assert "✓ nats-server" in out
        assert out.endswith("\nConfig OK\n")
        assert "hunter2" not in out
        assert not (place.path / "data").exists()

    async def test_every_problem_is_listed(self, place: Place) -> None:
        (place.path / "other.yaml").write_text("sync: never\nnats_port: x\n")
        code, out, _ = await place.run("serve", "--dry-run", "--config=other.yaml")
        assert code == 1
        assert out.count("✗ configuration: other.yaml:") == 2
        assert out.endswith("\nConfig INVALID\n")

    async def test_as_json(self, place: Place, taken: int) -> None:
        args = (*place.defaults(), f"--nats-port={taken}")
        code, out, _ = await place.run("serve", "--dry-run", "--json", *args)
        found = json.loads(out)
        assert code == 1
        assert found["valid"] is False
        assert [check["check"] for check in found["checks"] if "problem" in check] == ["nats_port"]
        assert found["config"]["nats_port"] == taken

    async def test_a_bad_flag_is_wrong_usage(self, place: Place) -> None:
        code, _, err = await place.run("serve", "--dry-run", "--nats-port=x")
        assert code == 2
        assert '--nats-port: "x" is not a whole number' in err


class TestConfigShow:
    @pytest.mark.parametrize("words", [("config",), ("config", "show")])
    async def test_what_serve_would_use(self, place: Place, words: tuple[str, ...]) -> None:
        place.env |= {"DAGNATS_DATA_DIR": "/tmp/dagnats", "DAGNATS_HTTP_ADDR": ":8080"}
        code, out, err = await place.run(*words)
        assert (code, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()[:7]] == [
            *("data_dir:", "http_addr:", "nats_port:", "monitor_port:"),
            *("leaf_remotes:", "leaf_credentials:", "max_store_bytes:"),
        ]
        code, out, _ = await place.run(*words, "--json")
        assert out.startswith('{"data_dir":"/tmp/dagnats","http_addr":":8080",')

    async def test_mistakes_are_errors(self, place: Place) -> None:
        (place.path / "dagnats.yaml").write_text("nats_port: 1\nnats_port: 2\n")
        code, _, err = await place.run("config")
        assert code == 1
        assert err.startswith("Error: dagnats.yaml:2: ")
