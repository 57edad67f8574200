"""Whether the system can do its work: the engine keeps up, and what is written is kept."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from dagnats.errors import DagnatsError
from dagnats.model.times import format_time
from dagnats.services.infos import consumer_info
from dagnats.services.session import Session
from dagnats.services.status import ENGINE, HISTORY, engine_lag
from dagnats.services.tolerant import api_or_none
from dagnats.wire.kv import Bucket

MAX_LAG_S = 30.0
"""An event that the engine has not seen for this long is a sign that it does not keep up."""

MIN_FREE_BYTES = 64 * 1024 * 1024
"""A disk with less free space is about to freeze streams (``reliability.md`` 3.3)."""

MAX_STORE_SHARE = 0.98
"""How much of JetStream's own limit may be in use."""

SILENCE_S = 60.0
"""How long a stream that answered nothing counts as frozen unless it answers again."""

CHECK_S = 3.0
"""How long all checks together may take."""

PROBE = "health"
"""Key of the short-lived bucket ``leases`` that is written to see whether writing works."""


class Readiness(Struct, frozen=True):
    """What stands in the way; nothing when all is well."""

    problems: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing does."""
        return not self.problems


async def check_readiness(session: Session, data_dir: Path | None = None) -> Readiness:
    """Look at the connection, the engine, the store and the disk, within 3 s.

    Args:
        session: the connection.
        data_dir: where our own nats-server keeps its data; ``None``: it is not ours.
    """
    if not session.bus.connected:
        return Readiness(["NATS not connected"])
    try:
        async with asyncio.timeout(CHECK_S):
            return Readiness([problem async for problem in _problems(session, data_dir)])
    except TimeoutError:
        return Readiness([f"NATS did not answer within {CHECK_S:g} s"])
    except DagnatsError as error:
        return Readiness([error.message])


async def _problems(session: Session, data_dir: Path | None) -> AsyncIterator[str]:
    if problem := _disk(data_dir):
        yield problem
    account = await api_or_none(session, "INFO")
    if account is None:
        yield "JetStream is not available"
        return
    for problem in (_store(account), await _engine(session), *_frozen(session)):
        if problem:
            yield problem
    if problem := await _probe(session):
        yield problem


def _disk(data_dir: Path | None) -> str:
    if data_dir is None or not data_dir.exists():
        return ""
    free = shutil.disk_usage(data_dir).free
    if free >= MIN_FREE_BYTES:
        return ""
    return f"disk full: {free >> 20} MiB are free where the data lies"


def _store(account: dict[str, Any]) -> str:
    limit = account.get("limits", {}).get("max_storage", -1)
    used = account.get("storage", 0)
    if limit <= 0 or used < limit * MAX_STORE_SHARE:
        return ""
    return f"store full: {used} of {limit} bytes are used"


async def _engine(session: Session) -> str:
    """Whether an engine takes what comes, or at least nothing waits for one."""
    consumer = await consumer_info(session, HISTORY, ENGINE)
    if consumer is None:
        return "there is no engine"
    lag = await engine_lag(session, consumer)
    if lag <= MAX_LAG_S:
        return ""
    return f"the engine lags: {consumer['num_pending']} events wait, the oldest for {lag:g} s"


def _frozen(session: Session) -> list[str]:
    now = time.monotonic()
    return [
        f"frozen: nothing that is written below '{token}' is acknowledged"
        for token, since in session.bus.publisher.silent.items()
        if now - since < SILENCE_S
    ]


async def _probe(session: Session) -> str:
    bucket = Bucket(session.bus, session.bus.publisher, "leases", str)
    try:
        async with asyncio.timeout(CHECK_S / 2):
            await bucket.put(PROBE, format_time(session.now()))
    except (DagnatsError, TimeoutError) as error:
        reason = error.message if isinstance(error, DagnatsError) else "no acknowledgement"
        return f"cannot write: {reason}"
    return ""
