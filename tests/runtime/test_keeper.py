from __future__ import annotations

import asyncio
import logging

import pytest

from dagnats.errors import DagnatsError
from dagnats.runtime import keeper
from dagnats.runtime.keeper import Keeper
from tests.conftest import eventually

log = logging.getLogger("dagnats.test")


async def test_it_starts_over_and_says_why_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "PAUSE_S", 0.01)
    errors = [DagnatsError("away"), DagnatsError("away"), ValueError("ours"), DagnatsError("away")]
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun <= len(errors):
            raise errors[begun - 1]
        await asyncio.Event().wait()

    kept = Keeper("the work", work, log)
    kept.start()

    async def working() -> bool:
        return begun == len(errors) + 1

    await eventually(working)
    await kept.stop()
    await kept.stop()
    told = [(record.getMessage(), bool(record.exc_info)) for record in caplog.records]
    assert told == [
        ("the work starts over: away", False),
        ("the work starts over: ours", True),
        ("the work starts over: away", False),
    ]


async def test_one_that_was_never_started_can_be_stopped() -> None:
    async def work() -> None:
        raise AssertionError

    await Keeper("nothing", work, log).stop()
