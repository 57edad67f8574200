"""The client for programs without an event loop: the async one, driven from a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dagnats.client import Client, Run
from dagnats.model.run import WorkflowRun
from dagnats.model.workflow import WorkflowDef
from dagnats.services.contexts import ConnectSettings
from dagnats.services.run_events import RunEvent
from dagnats.services.workflows import Registered
from dagnats.workflow import Workflow

T = TypeVar("T")


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="dagnats-client", daemon=True
        )
        self._thread.start()

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of ``call``; interrupting the wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncRun:
    """One run; see :class:`dagnats.client.Run`."""

    def __init__(self, run: Run, loop: _Loop) -> None:
        self._run = run
        self._loop = loop
        self.id = run.id

    def __repr__(self) -> str:
        return f"SyncRun({self.id!r})"

    def result(self, timeout: float | timedelta | None = None, kind: Any = Any) -> Any:
        """Like :meth:`dagnats.client.Run.result`."""
        return self._loop.wait(self._run.result(timeout, kind))

    def status(self) -> str:
        """Like :meth:`dagnats.client.Run.status`."""
        return self._loop.wait(self._run.status())

    def snapshot(self) -> WorkflowRun:
        """Like :meth:`dagnats.client.Run.snapshot`."""
        return self._loop.wait(self._run.snapshot())

    def cancel(self) -> None:
        """Like :meth:`dagnats.client.Run.cancel`."""
        self._loop.wait(self._run.cancel())

    def signal(self, name: str, value: Any = None) -> None:
        """Like :meth:`dagnats.client.Run.signal`."""
        self._loop.wait(self._run.signal(name, value))

    def approve(self, step: str, value: Any = None) -> None:
        """Like :meth:`dagnats.client.Run.approve`."""
        self._loop.wait(self._run.approve(step, value))

    def reject(self, step: str, value: Any = None) -> None:
        """Like :meth:`dagnats.client.Run.reject`."""
        self._loop.wait(self._run.reject(step, value))

    def events(self) -> Iterator[RunEvent]:
        """Like :meth:`dagnats.client.Run.events`."""
        following = self._run.events()

        async def following_one() -> RunEvent | None:
            return await anext(following, None)

        try:
            while (event := self._loop.wait(following_one())) is not None:
                yield event
        finally:
            self._loop.wait(following.aclose())


class SyncClient:
    """A connection for programs that use workflows; see :class:`dagnats.client.Client`.

    Connects at once and is closed by ``with`` or :meth:`close`.

    Args:
        server: as for the async client.

    Raises:
        UnreachableError: there is no server.
    """

    def __init__(self, server: str | ConnectSettings | None = None) -> None:
        self._loop = _Loop()
        self._client = Client(server)
        try:
            self._loop.wait(self._client.connect())
        except BaseException:
            self._loop.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        self._loop.wait(self._client.close())
        self._loop.close()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, workflow: Workflow | WorkflowDef | str) -> Registered:
        """Like :meth:`dagnats.client.Client.register`."""
        return self._loop.wait(self._client.register(workflow))

    def start(
        self,
        workflow: str | Workflow,
        input: Any = None,  # noqa: A002 - what it is called everywhere
        *,
        at: datetime | None = None,
    ) -> SyncRun:
        """Like :meth:`dagnats.client.Client.start`."""
        return SyncRun(self._loop.wait(self._client.start(workflow, input, at=at)), self._loop)

    def run(self, run_id: str) -> SyncRun:
        """A run by its full id."""
        return SyncRun(self._client.run(run_id), self._loop)

    def publish_event(self, event_type: str, event: Any, event_id: str = "") -> None:
        """Like :meth:`dagnats.client.Client.publish_event`."""
        self._loop.wait(self._client.publish_event(event_type, event, event_id))
