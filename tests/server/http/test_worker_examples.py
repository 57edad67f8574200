"""The example workers in shell and in Node pass the same tests, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from dagnats.model.times import SECOND
from dagnats.server.embedded import free_port
from dagnats.server.http.room import HttpRoom
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings
from dagnats.services.session import Session
from dagnats.services.workflow_files import validate_file
from tests.conftest import eventually
from tests.server.http.client import Client
from tests.services.conftest import Register, step

pytestmark = pytest.mark.usefixtures("engine")

EXAMPLES = Path(__file__).parents[3] / "examples"
NEEDS = {"curl": ("curl", "jq"), "node": ("node",)}
COMMANDS = {
    "echo": ("jq", "-c", "{got: .}"),
    "long": ("sh", "-c", "sleep 2.5; echo '{\"slept\":true}'"),
    "fail": ("sh", "-c", "echo no use >&2; exit 64"),
}
KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            not all(map(shutil.which, words)), reason=f"needs {', '.join(words)}"
        ),
    )
    for kind, words in NEEDS.items()
]

Launch = Callable[[str, str], Awaitable[asyncio.subprocess.Process]]


class Server:
    """The API on one port, to be stopped and started again."""

    def __init__(self, session: Session, data: Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        self.settings = Settings(
            data_dir=data, http_addr=address, bridge_ack_wait=SECOND, bridge_token="secret"
        )
        self.session = session
        self.api = Client(*self.settings.http_bind)
        self.room: HttpRoom | None = None

    async def start(self) -> None:
        self.room = HttpRoom(Context(self.settings, self.session, self.settings.http_bind))
        await self.room.start()

    async def stop(self) -> None:
        assert self.room is not None
        await self.room.stop()

    async def run(self, task: str, given: Any) -> str:
        body = {"workflow": task.replace(".", "-"), "input": given}
        return (await self.api.post("/runs", body)).json["run_id"]

    async def outputs(self, run_id: str, status: str = "completed") -> Any:
        async def there() -> bool:
            return (await self.api.get(f"/runs/{run_id}")).json["status"] == status

        await eventually(there)
        return (await self.api.get(f"/runs/{run_id}/outputs")).json.get("outputs")

    async def started(self, run_id: str) -> int:
        return len((await self.api.get(f"/runs/{run_id}/events?type=step.started")).json)


@pytest.fixture
async def server(session: Session, tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(session, tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def launch(server: Server) -> AsyncIterator[Launch]:
    async with AsyncExitStack() as stack:

        async def start(kind: str, behaviour: str) -> asyncio.subprocess.Process:
            host, port = server.settings.http_bind
            env = os.environ | {
                "DAGNATS_URL": f"http://{host}:{port}",
                "DAGNATS_BRIDGE_TOKEN": "secret",
            }
            words: tuple[str, ...] = ("node", str(EXAMPLES / "http-worker-node/main.mjs"))
            if kind == "curl":
                script = str(EXAMPLES / "http-worker-curl/worker.sh")
                words = (script, f"curl.{behaviour}", *COMMANDS[behaviour])
            process = await asyncio.create_subprocess_exec(
                *words, env=env, start_new_session=True, stderr=asyncio.subprocess.DEVNULL
            )
            stack.push_async_callback(kill, process)
            return process

        yield start


async def kill(process: asyncio.subprocess.Process) -> None:
    """The worker and whatever it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@pytest.mark.parametrize("kind", KINDS)
async def test_it_works_fails_and_drains(
    kind: str, server: Server, launch: Launch, workflow: Register
) -> None:
    for behaviour in ("echo", "fail"):
        task = f"{kind}.{behaviour}"
        await workflow(task.replace(".", "-"), step("a", task=task))
    workers = [await launch(kind, behaviour) for behaviour in ("echo", "fail")]
    given = {"text": "a \u202e\x1b[31m 'quoted' $(x)"}
    runs = [await server.run(f"{kind}.echo", given) for _ in range(5)]
    for run_id in runs:
        assert await server.outputs(run_id) == {"a": {"got": given}}
    await server.outputs(await server.run(f"{kind}.fail", {"permanent": True}), "failed")
    for process in workers:
        process.terminate()
    await asyncio.wait_for(asyncio.gather(*(process.wait() for process in workers)), 15)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_in_the_middle_of_a_long_task(
    kind: str, server: Server, launch: Launch, workflow: Register
) -> None:
    """The task lasts longer than its ack wait, and the server is away while it ends."""
    await workflow(f"{kind}-long", step("a", task=f"{kind}.long"))
    await launch(kind, "long")
    run_id = await server.run(f"{kind}.long", {"ms": 2500})

    async def begun() -> bool:
        return await server.started(run_id) == 1

    await eventually(begun)
    await asyncio.sleep(1.8)
    await server.stop()
    await asyncio.sleep(0.8)
    await server.start()
    assert await server.outputs(run_id) == {"a": {"slept": True}}
    assert await server.started(run_id) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_worker_is_replaced(
    kind: str, server: Server, launch: Launch, workflow: Register
) -> None:
    await workflow(f"{kind}-long", step("a", task=f"{kind}.long"))
    first = await launch(kind, "long")
    run_id = await server.run(f"{kind}.long", {"ms": 2500})

    async def begun() -> bool:
        return await server.started(run_id) == 1

    await eventually(begun)
    await kill(first)
    await launch(kind, "long")
    assert await server.outputs(run_id) == {"a": {"slept": True}}


@pytest.mark.parametrize("kind", NEEDS)
def test_their_workflows_are_valid(kind: str) -> None:
    validate_file(str(EXAMPLES / f"http-worker-{kind}" / "workflow.json"))
