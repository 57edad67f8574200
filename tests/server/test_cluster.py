"""Three servers with a NATS each and three copies of every stream: one is lost under load."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from dagnats.server.embedded import free_port
from dagnats.server.natsconf import CLUSTER_PORT_STEP
from dagnats.worker import Worker
from tests.conftest import eventually
from tests.server.http.client import Client
from tests.server.test_serve import Place, Serve

RUNS = 60
W = {
    "name": "w",
    "version": "1",
    "steps": [
        {"id": "a", "type": "normal", "task": "count"},
        {"id": "b", "type": "normal", "task": "count", "depends_on": ["a"]},
    ],
}


def ports() -> list[int]:
    """Client ports beside which the ports for the routes are free as well."""
    found: set[int] = set()
    while len(found) < 3:
        port = free_port()
        if port + CLUSTER_PORT_STEP < 65535:
            found.add(port)
    return sorted(found)


class Member:
    """One of the three."""

    def __init__(self, path: Path, mine: int, others: list[int], token: str) -> None:
        self.nats = f"nats://127.0.0.1:{mine}"
        self.http = free_port()
        self.place = Place(path)
        path.mkdir()
        (path / "dagnats.yaml").write_text(
            f"data_dir: {path}/data\nnats_port: {mine}\nhttp_addr: 127.0.0.1:{self.http}\n"
            f"sync: 2m\nnats_cluster_name: test\nnats_cluster_auth_token: {token}\n"
            "nats_cluster_routes:\n"
            + "".join(f"  - nats://127.0.0.1:{port + CLUSTER_PORT_STEP}\n" for port in others)
        )
        self.api = Client("127.0.0.1", self.http)
        self.server: Serve | None = None

    async def start(self) -> None:
        self.server = Serve(await self.place.spawn("serve", "--json"))
        await self.server.wait_ready(60)
        assert self.server.ready.get("status") == "ready", self.server.ready


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[list[Member]]:
    chosen = ports()
    made = [
        Member(tmp_path / f"m{mine}", mine, [port for port in chosen if port != mine], "a-secret")
        for mine in chosen
    ]
    async with AsyncExitStack() as stack:
        for member in made:
            stack.push_async_callback(end, member)
        await asyncio.gather(*(member.start() for member in made))
        yield made


async def end(member: Member) -> None:
    if member.server is not None and member.server.process.returncode is None:
        member.server.process.kill()
        await member.server.process.wait()


@pytest.mark.timeout(120)
async def test_a_third_of_the_cluster_is_lost_under_load_and_no_run(
    members: list[Member],
) -> None:
    first, second, third = members
    assert (await second.api.post("/workflows", W)).status == 201
    done: Counter[str] = Counter()
    worker = Worker(f"{second.nats},{third.nats}")

    @worker.task("count", concurrency=4)
    async def count(ctx: Any) -> int:
        done[f"{ctx.run_id}.{ctx.step_id}"] += 1
        return 1

    async with worker:
        ids: list[str] = []
        for number in range(RUNS):
            if number == RUNS // 3:
                assert first.server is not None
                first.server.process.send_signal(signal.SIGKILL)  # its NATS goes with it
            ids.append(await started(members[1 + number % 2].api, number))

        async def ended() -> bool:
            runs = (await third.api.get("/runs?limit=1000")).json
            return Counter(run["status"] for run in runs) == {"completed": RUNS}

        await eventually(ended, 60)
    runs = (await second.api.get("/runs?limit=1000")).json
    assert sorted(run["run_id"] for run in runs) == sorted(ids)
    assert len(done) == 2 * RUNS
    health = await second.api.get("/health/cluster")
    assert health.json["mode"] == "cluster"
    assert health.status == 503  # a copy is missing: work goes on, and it says so


async def started(api: Client, number: int) -> str:
    """Start a run; while the cluster elects, the server asks to come back."""
    while True:
        answer = await api.post("/runs", {"workflow": "w", "input": {"number": number}})
        if answer.status == 201:
            return answer.json["run_id"]
        assert answer.status == 503, answer.body
        await asyncio.sleep(0.2)
