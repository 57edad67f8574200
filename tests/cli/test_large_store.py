"""Commands are exact where there is much, and read no more than they need.

``python -m benchmarks.cli`` does the same with 100 000 runs and says how long it takes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from benchmarks.large_store import WORKFLOW, Made, Size, fill

from dagnats.server.embedded import EmbeddedServer
from dagnats.wire import direct
from dagnats.wire.connection import Bus
from tests.cli.runner import Result, cli

SIZE = Size(runs=3000, dead=300, events=9000, logs=600)


class Large:
    """A large store, and commands that run against it."""

    def __init__(self, url: str, made: Made) -> None:
        self.made = made
        self._url = url

    async def __call__(self, *argv: str) -> Result:
        done = await asyncio.to_thread(cli, *argv, env={"DAGNATS_NATS_URL": self._url})
        assert done.code == 0, done.err
        return done

    async def json(self, *argv: str) -> Any:
        return (await self(*argv, "--json")).json


@pytest.fixture
async def large(nats_server: EmbeddedServer) -> Large:
    return Large(nats_server.url, await fill(nats_server.url, SIZE))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many messages were read from each stream."""
    counts: Counter[str] = Counter()
    fetch = direct.fetch

    async def counted(bus: Bus, stream: str, body: dict[str, Any]) -> list[direct.Stored]:
        found = await fetch(bus, stream, body)
        counts[stream] += len(found)
        return found

    monkeypatch.setattr(direct, "fetch", counted)
    monkeypatch.setattr("dagnats.wire.kv.fetch", counted)
    return counts


async def test_everything_is_exact(
    large: Large, read: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole store was written within less than this.
    monkeypatch.setattr("dagnats.services.run_query.CLOCK_SLACK", 0)
    made = large.made
    newest = made.ids[::-1]

    shown = await large.json("run", "list", "--limit=50")
    assert [run["run_id"] for run in shown] == newest[:50]
    assert read["KV_workflow_runs"] < SIZE.runs, "not all are read for fifty"

    failed = set(made.failed)
    shown = await large.json("run", "list", "--status=failed", "--limit=20")
    assert [run["run_id"] for run in shown] == [i for i in newest if i in failed][:20]
    assert len(await large.json("run", "list", "--limit=5000")) == SIZE.runs
    assert (await large("run", "list", "--limit=10")).err.startswith("showing the newest 10 runs")

    read.clear()
    assert (await large.json("run", "status", "--last"))["run_id"] == newest[0]
    assert (await large.json("run", "status", made.ids[7][:12]))["run_id"] == made.ids[7]
    assert (await large.json("run", "status", made.ids[0]))["run_id"] == made.ids[0]
    assert read["KV_workflow_runs"] < SIZE.runs
    assert (await large.json("run", "count")) == {"count": SIZE.runs}
    assert (await large.json("run", "count", "--status=failed")) == {"count": SIZE.dead}

    status = await large.json("status", "--detail")
    assert status["active_runs"] == len(made.live)
    assert status["runs"]["failed"] == SIZE.dead == status["dlq"]["total"]
    assert status["workflows"][0]["total"] == SIZE.runs

    for mode in ("rerun", "replay"):
        words = ("run", "retry-all", f"--workflow={WORKFLOW}", f"--mode={mode}", "--dry-run")
        planned = await large.json(*words)
        assert [run["original_run_id"] for run in planned["retried"]] == made.failed
    planned = await large.json("run", "cancel-all", f"--workflow={WORKFLOW}", "--dry-run")
    assert planned["cancelled"] == made.live

    read.clear()
    letters = await large.json("dlq", "list")
    assert [letter["run_id"] for letter in letters] == made.failed[:50]
    assert read["DEAD_LETTERS"] <= direct.FIRST_PAGE
    assert len(await large.json("dlq", "list", "--all")) == SIZE.dead
    last = made.failed[-1]
    assert [x["run_id"] for x in await large.json("dlq", "list", f"--run={last}")] == [last]

    read.clear()
    assert len(await large.json("run", "events", made.ids[5])) == SIZE.events_each
    assert read["WORKFLOW_HISTORY"] == SIZE.events_each, "only those of the run"
    tail = await large("logs", "--tail=5", "-o", "jsonl")
    assert [made.ids[n] in line for n, line in zip(range(595, 600), tail.lines, strict=True)] == (
        [True] * 5
    )
    about = await large("logs", "--tail=5", f"--run={made.ids[3]}")
    assert len(about.lines) == 1
