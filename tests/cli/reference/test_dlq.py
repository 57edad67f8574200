"""The examples under ``dlq`` and ``workers`` in the reference."""

from __future__ import annotations

import re
import time

from dagnats.model.records import WorkerRegistration
from dagnats.model.times import format_time
from tests.cli.conftest import World, step
from tests.cli.reference.conftest import Register, finished
from tests.cli.reference.shape import shown
from tests.cli.test_groups import wait_for
from tests.cli.test_long_running import running

SLOW = '{"slow": true}'


def _dead(shop: World, register: Register) -> tuple[str, str]:
    """A run that failed at ``lint``, and the sequence of its dead letter."""
    run_id = finished(shop, register("linted", step("lint", task="lint.run")), SLOW, code=3)
    (letter,) = wait_for(lambda: shop("dlq", "list", f"--run={run_id}", "--json").json)
    return run_id, str(letter["sequence"])


def test_list(shop: World, register: Register) -> None:
    shop("clean", "--type=dlq", "--force")
    run_id, sequence = _dead(shop, register)
    done = shop("dlq", "list", f"--run={run_id[:8]}", "--limit=10")
    shown(
        done.out,
        """
# SEQ SUBJECT RUN_ID STEP_ID TASK ERROR TIMESTAMP
# 42 dead.lint.run a1b2c3d4 lint lint.run timeout exceeded 2025-01-15 09:05:00
""",
        vary={"42": sequence, "dead.lint.run": r"dead\.lint\.run\S*"},
    )
    assert f" {run_id[:8]} " in done.out


def test_replay(shop: World, register: Register) -> None:
    _, sequence = _dead(shop, register)
    done = shop("dlq", "replay", sequence)
    assert done.out == f"Replayed dead letter {sequence}\n"


def test_replay_of_a_run(shop: World, register: Register) -> None:
    run_id, sequence = _dead(shop, register)
    done = shop("dlq", "replay", f"--run={run_id[:8]}")
    assert done.out == (
        f"Replayed dead letter {sequence} (lint.run)\n"
        f"Replayed 1 dead letters for run {run_id[:8]}\n"
    )


def test_watch(shop: World, register: Register) -> None:
    run_id, _ = _dead(shop, register)
    short = run_id[:8]
    with running(shop, "dlq", "watch", "--interval=100ms", "--max-replays=5") as watch:
        assert watch.saw("Watching") == "Watching DLQ every 100ms (max 5 replays per message)"
        first = watch.saw(f"run={short} err=")
        wait_for(lambda: _exhausted(watch.lines, short))
        last = _exhausted(watch.lines, short)[0]
        assert watch.interrupt() == 0
    shown(
        f"{first}\n{last}\n",
        """
# [replay 1/5] seq=42 task=lint.run run=a1b2c3d4 err=timeout exceeded
# [skip exhausted 5/5] seq=42 task=lint.run run=a1b2c3d4
""",
        vary={"seq=42": r"seq=\d+", "run=a1b2c3d4": f"run={short}"},
    )
    # What other tests left behind is replayed as well.
    assert re.fullmatch(r"Watch summary: \d+ replayed, \d+ exhausted", watch.lines[-1])


def _exhausted(lines: list[str], run: str) -> list[str]:
    return [line for line in lines if line.startswith("[skip exhausted") and f"run={run}" in line]


def test_the_banner_of_watch(shop: World) -> None:
    with running(shop, "dlq", "watch", "--interval=10s", "--max-replays=5") as watch:
        assert watch.saw("Watching") == "Watching DLQ every 10s (max 5 replays per message)"
    with running(shop, "dlq", "watch") as watch:
        assert watch.saw("Watching") == "Watching DLQ every 30s (max 3 replays per message)"


def test_workers_list(shop: World) -> None:
    def put(worker_id: str, tasks: list[str], language: str, most: int) -> None:
        record = WorkerRegistration(
            worker_id=worker_id,
            task_types=tasks,
            language=language,
            max_tasks=most,
            last_seen=format_time(time.time_ns()),
        )
        shop.do(lambda session: session.stores.workers.put(worker_id, record))

    put("worker-1", ["llm", "http"], "go", 4)
    put("worker-2", ["lint.run"], "python", 2)
    lines = [line for line in shop("workers", "list").lines if "pass.on" not in line]
    shown(
        "\n".join(lines) + "\n",
        """
# WORKER_ID TASK_TYPES LANGUAGE MAX_TASKS
# worker-1 llm,http go 4
# worker-2 lint.run python 2
""",
    )
    for worker in ("worker-1", "worker-2"):
        shop.do(lambda session, worker=worker: session.stores.workers.delete(worker))
