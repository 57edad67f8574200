"""A server that is killed while a worker over HTTP is at work."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from dagnats.server.embedded import free_port
from tests.conftest import eventually
from tests.server.http.client import Client
from tests.server.http.test_worker_examples import EXAMPLES, kill
from tests.server.test_serve import Place

W = {
    "name": "w",
    "version": "1",
    "steps": [
        {"id": "long", "type": "normal", "task": "node.long"},
        {"id": "echo", "type": "normal", "task": "node.echo", "depends_on": ["long"]},
    ],
}


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
async def test_results_of_http_workers_survive_a_killed_server(tmp_path: Path) -> None:
    """Killed while tasks are at work, and gone while they end: none is lost, none runs twice."""
    place, port = Place(tmp_path), free_port()
    given = (
        *(f"--nats-port={free_port()}", f"--http-addr=127.0.0.1:{port}"),
        *("--data-dir", str(tmp_path / "data")),
    )
    api = Client("127.0.0.1", port)
    env = os.environ | {"DAGNATS_URL": f"http://127.0.0.1:{port}"}
    worker = await asyncio.create_subprocess_exec(
        *("node", str(EXAMPLES / "http-worker-node/main.mjs")),
        env=env,
        start_new_session=True,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with place.serve(*given, defaults=False) as server:
            assert (await api.post("/workflows", W)).status == 201
            start = {"workflow": "w", "input": {"ms": 1500}}
            runs = [(await api.post("/runs", start)).json["run_id"] for _ in range(5)]
            await eventually(lambda: started(api, runs, 5))
            await server.end(signal.SIGKILL)
        await asyncio.sleep(1.5)
        async with place.serve(*given, defaults=False):
            await eventually(lambda: completed(api, 5), 40)
            assert await started(api, runs, 10)
            for run_id in runs:
                outputs = (await api.get(f"/runs/{run_id}/outputs")).json["outputs"]
                assert outputs == {"echo": {"got": {"slept": True}}}
    finally:
        await kill(worker)


async def started(api: Client, runs: list[str], count: int) -> bool:
    """Whether so many attempts have begun in all these runs."""
    path = "/runs/{}/events?type=step.started"
    found = [len((await api.get(path.format(run_id))).json) for run_id in runs]
    return sum(found) == count


async def completed(api: Client, count: int) -> bool:
    return len((await api.get("/runs?status=completed")).json) == count
