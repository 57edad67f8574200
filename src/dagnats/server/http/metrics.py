"""What /metrics tells besides the process's own counters: the state of the system."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from dagnats.services import workers
from dagnats.services.session import Session
from dagnats.services.status import Status, StatusDetail, get_status
from dagnats.telemetry.metrics import METRICS, Labels

MEDIA = "text/plain; version=0.0.4; charset=utf-8"

SHARE = 20
"""A state that took t seconds to find out is good for this many times t: 5 % of the time."""

MIN_AGE_S = 2.0
"""How old a state may be in any case, in seconds."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

GAUGES: dict[str, tuple[str, Labels]] = {
    "dagnats.runs": ("Stored runs.", ("status",)),
    "dagnats.workflow.runs": ("Stored runs.", ("workflow", "status")),
    "dagnats.tasks.pending": ("Tasks that wait for a worker.", ("task",)),
    "dagnats.tasks.in_flight": ("Tasks that workers have.", ("task",)),
    "workflow.runs.active": ("Runs under way.", ("workflow",)),
    "dlq_depth": ("Dead letters.", ()),
    "dagnats.dlq.depth": ("Dead letters.", ("task",)),
    "dagnats.engine.running": ("Whether an engine is attached.", ()),
    "dagnats.engine.lag_messages": ("Events the engine has not seen.", ()),
    "dagnats.engine.lag_seconds": ("Age of the oldest event it has not seen.", ()),
    "dagnats.timers": ("Timers that are set.", ()),
    "dagnats.stream.messages": ("Messages in a stream.", ("stream",)),
    "dagnats.stream.bytes": ("Bytes of a stream.", ("stream",)),
    "dagnats.workers": ("Workers that are alive.", ()),
}
"""Help and labels of the gauges about the system. Run ids are never labels (TEL-1)."""

_requests = METRICS.counter("api.requests", "Requests to the API.", ("method", "code"))
_errors = METRICS.counter("api.errors", "Requests that ended with a status of 500 or more.")
_duration = METRICS.histogram("api.request.duration_ms", "How long requests took.")


def observe(method: str, status: int, seconds: float) -> None:
    """Count one request."""
    _requests.add(1, method if method in METHODS else "other", str(status))
    _duration.observe(seconds * 1000)
    if status >= 500:
        _errors.add()


class Metrics:
    """What a scrape gets.

    Args:
        session: the connection.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state: dict[str, dict[Labels, float]] = {}
        self._good_until = 0.0
        self._lock = asyncio.Lock()
        for name, (about, labels) in GAUGES.items():
            METRICS.gauge(name, about, labels, read=lambda name=name: self._state.get(name, {}))
        METRICS.before.append(self.refresh)

    def close(self) -> None:
        """Look no more; what was seen is nobody's state from now on."""
        METRICS.before.remove(self.refresh)
        self._state = {}

    async def text(self) -> str:
        """All metrics of the process."""
        await self.refresh()
        return METRICS.render()

    async def refresh(self) -> None:
        """Look at the system anew, now and then only."""
        async with self._lock:
            began = time.monotonic()
            if began >= self._good_until:
                self._state = {}
                self._state = await _state(self._session)
                took = time.monotonic() - began
                self._good_until = time.monotonic() + max(MIN_AGE_S, SHARE * took)


async def _state(session: Session) -> dict[str, dict[Labels, float]]:
    status = await get_status(session, detail=True)
    assert status.detail is not None
    return {
        **_of_runs(status),
        **_of_detail(status.detail),
        "dagnats.engine.running": {(): float(status.engine == "running")},
        "dagnats.stream.messages": _series((row.name, row.messages) for row in status.streams),
        "dagnats.stream.bytes": _series((row.name, row.bytes) for row in status.streams),
        "dagnats.workers": {(): len(await workers.list_workers(session))},
    }


def _of_runs(status: Status) -> dict[str, dict[Labels, float]]:
    return {
        "dagnats.runs": _series(status.runs.items()),
        "workflow.runs.active": {(row.name,): row.running for row in status.workflows},
        "dagnats.workflow.runs": {
            (row.name, name): count
            for row in status.workflows
            for name, count in (
                ("running", row.running),
                ("completed", row.completed),
                ("failed", row.failed),
            )
        },
    }


def _of_detail(detail: StatusDetail) -> dict[str, dict[Labels, float]]:
    return {
        "dagnats.tasks.pending": _series((row.task, row.pending) for row in detail.queues),
        "dagnats.tasks.in_flight": _series((row.task, row.in_flight) for row in detail.queues),
        "dlq_depth": {(): detail.dlq.total},
        "dagnats.dlq.depth": _series(detail.dlq.by_task.items()),
        "dagnats.engine.lag_messages": {(): detail.engine.history_lag_messages},
        "dagnats.engine.lag_seconds": {(): detail.engine.history_lag_seconds},
        "dagnats.timers": {(): detail.engine.scheduled_timers},
    }


def _series(pairs: Iterable[tuple[str, int]]) -> dict[Labels, float]:
    return {(label,): value for label, value in pairs}
