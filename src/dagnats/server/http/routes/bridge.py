"""The worker bridge: tasks over HTTP, for workers in any language."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator

from starlette.responses import Response

from dagnats.server.bridge.bridge import REFRESH_S, Bridge, check_worker
from dagnats.server.bridge.results import Resolution
from dagnats.server.bridge.tasks import PolledTask
from dagnats.server.http.operations import Body, Call, Operation, operation, operation_of
from dagnats.server.http.presence import while_there
from dagnats.server.http.problems import HttpError
from dagnats.server.http.stream import Item, event_stream
from dagnats.telemetry.metrics import METRICS

TAG = "worker bridge"
JSON = "application/json"

BEAT = b"event: heartbeat\ndata: ok\n\n"

_requests = METRICS.counter("bridge.requests", "Requests to the worker bridge.", ("route",))
_duration = METRICS.histogram(
    "bridge.request.duration_ms", "How long requests to the worker bridge took.", ("route",)
)


class ConnectBody(Body, frozen=True, kw_only=True):
    """A worker that wants to be in the directory for as long as it listens."""

    worker_id: str = ""
    task_types: list[str] = []
    max_tasks: int = 1


class PollBody(Body, frozen=True, kw_only=True):
    """What a worker can do; `worker_id` is recorded with the steps it starts."""

    task_types: list[str] = []
    max_tasks: int = 1
    timeout_ms: int = 5000
    worker_id: str = ""


def bridge_operations(bridge: Bridge) -> list[Operation]:
    """The operations of the worker bridge.

    Args:
        bridge: what they call.
    """

    @operation("POST", "/v1/workers/connect", tag=TAG, access="bridge", media="text/event-stream")
    async def connect_worker(call: Call, body: ConnectBody) -> Response:
        """Register a worker for as long as the connection lasts; `heartbeat` events prove it."""
        _requests.add(1, "connect")
        types = check_worker(body.worker_id, body.task_types)
        being = bridge.connected(body.worker_id, types, body.max_tasks)
        await anext(being)
        return event_stream(_silent(being), call.closing, REFRESH_S, BEAT)

    @operation("POST", "/v1/tasks/poll", tag=TAG, access="bridge")
    async def poll_tasks(call: Call, body: PollBody) -> list[PolledTask]:
        """Tasks of any of the types: those that are there, else the first to come in time.

        Report about each with its `task_id`, and send a heartbeat more often than `heartbeat_ms`.
        """
        with _timed("poll"):
            polling = bridge.poll(body.task_types, body.max_tasks, body.timeout_ms, body.worker_id)
            tasks = await while_there(call.request, call.closing, polling, [])
            if tasks and await call.request.is_disconnected():
                bridge.hand_back(tasks)
            return tasks

    @operation("POST", "/v1/tasks/{task_id:path}/resolve", tag=TAG, access="bridge")
    async def resolve_task(call: Call, task_id: str, body: Resolution) -> Response:
        """Say what became of a task, or that it is still being worked on.

        Saying the same twice is harmless. A heartbeat is answered with `{"cancelled":true}` when
        nobody wants the result any more.
        """
        with _timed("resolve"):
            try:
                work = bridge.resolve(task_id, body)
                answer = await while_there(call.request, call.closing, work, b"")
            except TimeoutError:
                raise HttpError(408, f"no signal {body.name[:64]!r} came in time") from None
            return Response(answer, 200, None, JSON if answer else None)

    return [operation_of(handler) for handler in (connect_worker, poll_tasks, resolve_task)]


async def _silent(being: AsyncGenerator[None]) -> AsyncIterator[Item]:
    """Keeps the worker in the directory; what is sent are the signs of life of the stream."""
    async with contextlib.aclosing(being):
        async for _ in being:
            continue
    yield Item("end", b"ok")


@contextlib.contextmanager
def _timed(route: str) -> Generator[None]:
    began = time.perf_counter()
    _requests.add(1, route)
    try:
        yield
    finally:
        _duration.observe((time.perf_counter() - began) * 1000, route)
