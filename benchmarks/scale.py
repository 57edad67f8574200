"""Large maps and many timers on real NATS: ``python -m benchmarks.scale``.

What is promised: a map of 10 000 items costs at most half as much again per item as one of 100; 500
outputs of 4 KB fit; 1500 sleeps of a minute do not keep one of two seconds from its time; 100 000
pending timers cost memory in proportion, do not slow the start, and others fire on time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import meter
from benchmarks.rig import BIG, TASK, Rig, rig
from dagnats.model.codec import raw
from dagnats.model.event import EventType
from dagnats.model.times import HOUR, MILLISECOND, MINUTE, SECOND, read_time
from dagnats.model.workflow import MapConfig, SleepConfig, StepDef, StepType, WorkflowDef

RESULTS = Path(__file__).parent / "scale.json"
Row = dict[str, Any]


def mapping(task: str) -> WorkflowDef:
    """A list that is there already, and a task for each of its items."""
    source = StepDef(id="list", task=TASK)
    items = StepDef(
        id="items",
        task=task,
        depends_on=["list"],
        type=StepType.MAP.value,
        config=raw(MapConfig(max_items=10_000)),
    )
    return WorkflowDef(name=f"bench-map-{task}", version="1", steps=[source, items])


def sleeping(*durations: int) -> WorkflowDef:
    """Sleeps side by side."""
    steps = [
        StepDef(id=f"s{n}", type=StepType.SLEEP.value, config=raw(SleepConfig(duration=duration)))
        for n, duration in enumerate(durations)
    ]
    return WorkflowDef(name="bench-sleep", version="1", steps=steps)


async def mapped(made: Rig, count: int, task: str, rounds: int) -> Row:
    """Seconds and processor time per item of a map."""
    took: list[float] = []
    before = made.cpu()
    for _ in range(rounds):
        items = raw(list(range(count)))
        took.append(await made.run(mapping(task), reuse={"list": items}))
    after = made.cpu()
    each = {key: round((after[key] - before[key]) * 1e6 / (count * rounds), 1) for key in after}
    best = min(took)
    return {
        "items": count,
        "task": task,
        "seconds": round(best, 3),
        "us_per_item": round(best * 1e6 / count, 1),
        "cpu_us_per_item": each,
        "rss_mib": made.rss(),
    }


async def begin(made: Rig, workflow: WorkflowDef, runs: int) -> list[str]:
    """Start runs that nobody awaits; their ids."""
    started = [made.prepare(workflow) for _ in range(runs)]
    for place in range(0, runs, 100):
        await made.stores.publisher.publish_all([out for _, out in started[place : place + 100]])
    return [run_id for run_id, _ in started]


async def lateness(made: Rig, run_id: str) -> list[float]:
    """How late the sleeps of an ended run woke, in ms."""
    found = await made.stores.runs.get(f"run.{run_id}")
    assert found is not None
    late: list[float] = []
    for stored in await made.stores.history.read(run_id):
        if stored.event.type == EventType.SLEEP_COMPLETED:
            due = await _due(made, run_id, stored.event.step_id)
            late.append((stored.timestamp_ns - due) / 1e6)
    return late


async def _due(made: Rig, run_id: str, step_id: str) -> int:
    found = await made.stores.runs.get(f"run.{run_id}")
    assert found is not None
    begun = read_time(found.value.steps[step_id].started_at) or 0
    revision = await made.stores.revisions.get(f"{found.value.workflow_id}.{found.value.revision}")
    assert revision is not None
    step = next(step for step in revision.value.steps if step.id == step_id)
    return begun + json.loads(bytes(step.config))["duration"]


async def ended_sleeps(made: Rig, workflow: WorkflowDef) -> list[float]:
    """Lateness of every sleep of one run, in ms."""
    run_id, message = made.prepare(workflow)
    await made.stores.publisher.publish(message)
    while True:
        found = await made.stores.runs.get(f"run.{run_id}")
        if found is not None and found.value.completed_at:
            return await lateness(made, run_id)
        await asyncio.sleep(0.1)


async def waiting(made: Rig, count: int) -> float:
    """Seconds until the timers of all runs are stored with NATS."""
    began = time.perf_counter()
    while True:
        state = (await made.bus.api("STREAM.INFO.SLEEP_TIMERS"))["state"]
        if state["messages"] >= count:
            return round(time.perf_counter() - began, 2)
        await asyncio.sleep(0.1)


async def maps() -> Row:
    """Maps of growing width."""
    async with rig("2m") as made:
        small = await mapped(made, 100, TASK, 20)
        middle = await mapped(made, 1000, TASK, 3)
        large = await mapped(made, 10_000, TASK, 2)
        heavy = await mapped(made, 500, BIG, 2)
    ratio = round(large["us_per_item"] / small["us_per_item"], 2)
    return {"maps": [small, middle, large, heavy], "ratio_10000_to_100": ratio}


async def sleeps() -> Row:
    """1500 sleeps of a minute, and one of two seconds."""
    async with rig("2m") as made:
        await begin(made, sleeping(*[MINUTE] * 100), 15)
        await waiting(made, 1500)
        late = await ended_sleeps(made, sleeping(2 * SECOND))
    return {"sleeps_of_a_minute": 1500, "two_seconds_late_ms": round(late[0], 1)}


async def timers(count: int) -> Row:
    """Many pending timers."""
    async with rig("2m") as made:
        before = made.rss()
        began = time.perf_counter()
        await begin(made, sleeping(*[HOUR] * 100), count // 100)
        await waiting(made, count)
        set_in = time.perf_counter() - began
        after = made.rss()
        made.restart("engine")
        began = time.perf_counter()
        first = await made.run(sleeping(MILLISECOND))
        ready = time.perf_counter() - began
        rng = random.Random(1)
        spread = [rng.randrange(3 * SECOND, 9 * SECOND) for _ in range(100)]
        late = [ms for _ in range(3) for ms in await ended_sleeps(made, sleeping(*spread))]
        again = made.rss()
    return {
        "pending": count,
        "set_in_s": round(set_in, 1),
        "rss_mib_before": before,
        "rss_mib_with": after,
        "rss_mib_after_restart": again,
        "engine_ready_s": round(ready, 2),
        "first_run_s": round(first, 2),
        "late_ms_p50": round(meter.quantile(late, 0.5), 1),
        "late_ms_p99": round(meter.quantile(late, 0.99), 1),
        "late_ms_max": round(max(late), 1),
        "early": sum(ms < 0 for ms in late),
    }


async def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__)
    parser.add_argument("--timers", type=int, default=100_000)
    parser.add_argument("parts", nargs="*", default=["maps", "sleeps", "timers"])
    options = parser.parse_args()
    work = {"maps": maps, "sleeps": sleeps, "timers": lambda: timers(options.timers)}
    kept: Row = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in options.parts:
        kept[part] = await work[part]()
        print(json.dumps({part: kept[part]}, indent=1), flush=True)
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    uvloop.run(main())
