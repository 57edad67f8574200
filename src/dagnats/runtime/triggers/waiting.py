"""Waiting for a run to answer the HTTP caller that started it (``engine.md`` 10.5)."""

from __future__ import annotations

import asyncio
import contextlib

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import Event, EventType
from dagnats.model.run import WorkflowRun
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.triggers.answers import HttpResponse, answer_of, replied
from dagnats.wire import subjects
from dagnats.wire.stores import Stores

LOOK_S = 1.0
"""How often the snapshot is looked at, in seconds: what passes by may be missed."""

SOON_S = 0.02
"""The same once the run is known to have ended: its snapshot follows within moments."""

_ENDS = frozenset(
    {EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED}
)


class Waiting:
    """Listens for the answer of one run. Begin before the run is started.

    Args:
        stores: the connection.
        run_id: of the run.
    """

    def __init__(self, stores: Stores, run_id: str) -> None:
        self._stores = stores
        self._run_id = run_id
        self._reply = b""
        self._over = False
        self._news = asyncio.Event()
        self._ears = [
            stores.listen(subjects.http_response(run_id), self._on_reply),
            stores.listen(subjects.history(run_id), self._on_event),
        ]

    async def __aenter__(self) -> Waiting:
        for ear in self._ears:
            await ear.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for ear in self._ears:
            await ear.stop()

    def _on_reply(self, subject: str, data: bytes) -> None:
        del subject
        self._reply = self._reply or data or b"null"
        self._news.set()

    def _on_event(self, subject: str, data: bytes) -> None:
        del subject
        with contextlib.suppress(InvalidError):
            if decode(data, Event).type in _ENDS:
                self._over = True
                self._news.set()

    async def answer(self) -> HttpResponse:
        """The answer, as soon as there is one."""
        while True:
            if self._reply:
                return replied(self._reply, self._run_id)
            # NATS may be away for a moment: the next look is soon enough.
            with contextlib.suppress(DagnatsError):
                found = await self._look()
                if found is not None:
                    return found
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON_S if self._over else LOOK_S):
                    await self._news.wait()

    async def _look(self) -> HttpResponse | None:
        entry = await self._stores.runs.get(f"run.{self._run_id}")
        if entry is None:
            return None
        return answer_of(entry.value, await self._definition(entry.value))

    async def _definition(self, snapshot: WorkflowRun) -> WorkflowDef:
        key = f"{snapshot.workflow_id}.{snapshot.revision}"
        found = await self._stores.revisions.get(key) if snapshot.revision else None
        return found.value if found else WorkflowDef(name=snapshot.workflow_id)
