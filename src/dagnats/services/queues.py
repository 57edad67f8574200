"""Task queues beyond their counts: how old the oldest task is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dagnats.model.times import read_time
from dagnats.services.infos import TASKS
from dagnats.services.session import Session
from dagnats.services.tolerant import api_or_none

AT_ONCE = 16
"""Questions to the server that are under way at a time."""


async def oldest_tasks(session: Session, tasks: Iterable[str]) -> dict[str, int]:
    """When the oldest task of each queue was put there, ns since 1970.

    Tasks that a worker has in hand count: they leave a queue when they are done. Queues that are
    empty are left out.

    Args:
        session: the connection.
        tasks: names of queues, as in :class:`~dagnats.services.infos.QueueRow`.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def of(task: str) -> tuple[str, int]:
        async with gate:
            body = {"seq": 1, "next_by_subj": f"task.{task}.>"}
            found = await api_or_none(session, f"STREAM.MSG.GET.{TASKS}", body)
        return task, read_time(found["message"]["time"]) or 0 if found else 0

    return {task: at for task, at in await asyncio.gather(*map(of, tasks)) if at}
