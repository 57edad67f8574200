"""All benchmarks in one go: ``make bench``, or ``python -m benchmarks.run --quick``.

Every rate is also a ratio to JetStream publishes with acknowledgement, one at a time, on the same
server in the same minute: bare numbers say more about the machine than about the program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import uvloop

from benchmarks import meter
from benchmarks.rig import Rig, chain, fan, layers, rig
from dagnats import __version__
from dagnats.model.workflow import WorkflowDef

RESULTS = Path(__file__).parent / "results.json"
PAYLOAD = b"x" * 600
"""About the size of an event."""

Row = dict[str, Any]


async def reference(made: Rig, count: int) -> float:
    """JetStream publishes a second, each awaited before the next."""
    client = await nats.connect(made.url)  # As the library has it, without our fast lane.
    js = client.jetstream()
    await js.add_stream(name="BENCH", subjects=["bench.>"])
    began = time.perf_counter()
    for _ in range(count):
        await js.publish("bench.x", PAYLOAD)
    rate = count / (time.perf_counter() - began)
    await js.delete_stream("BENCH")
    await client.close()
    return rate


async def measured(
    made: Rig, name: str, steps: int, total: int, work: Callable[[], Awaitable[list[float]]]
) -> Row:
    """Do the work, and say what it took."""
    before, began = made.cpu(), time.perf_counter()
    took = await work()
    elapsed, after = time.perf_counter() - began, made.cpu()
    micro = {key: round((after[key] - before[key]) * 1e6 / (steps * total), 1) for key in after}
    return {
        "name": name,
        "runs": total,
        "seconds": round(elapsed, 3),
        "runs_per_s": round(total / elapsed, 1),
        "steps_per_s": round(total * steps / elapsed, 1),
        "p50_ms": round(meter.quantile(took, 0.5) * 1e3, 2) if took else None,
        "p99_ms": round(meter.quantile(took, 0.99) * 1e3, 2) if took else None,
        "cpu_us_per_step": micro,
        "rss_mib": made.rss(),
    }


async def closed(made: Rig, name: str, flow: WorkflowDef, total: int, concurrency: int) -> Row:
    """Runs with a fixed number in flight."""
    return await measured(
        made, name, len(flow.steps), total, lambda: made.many(flow, total, concurrency)
    )


async def starts(made: Rig, total: int) -> Row:
    """How fast runs can be started: acknowledged starts, in batches of 100."""
    flow = chain(1)
    batches = [[made.prepare(flow)[1] for _ in range(100)] for _ in range(total // 100)]

    async def work() -> list[float]:
        for batch in batches:
            await made.stores.publisher.publish_all(batch)
        return []

    row = await measured(made, "starts, batches of 100", 1, total, work)
    await made.run(flow)  # the ones before it are done, or nearly
    return row


async def one_mode(sync: str, scale: float) -> Row:
    """All loads on one server."""

    def count(base: int, least: int) -> int:
        return max(least, int(base * scale))

    async with rig(sync) as made:
        ref = await reference(made, count(5000, 500))
        line = chain(3)
        rows = [
            await closed(made, "3 steps, 1 at a time", line, count(500, 50), 1),
            await closed(made, "3 steps, 400 at a time", line, count(8000, 800), 400),
            await closed(made, "fan-out of 10, 100 at a time", fan(10), count(1500, 150), 100),
            await closed(made, "chain of 40, 1 at a time", chain(40), count(20, 3), 1),
            await closed(made, "1000-step DAG", layers(20, 50), count(3, 1), 1),
            await starts(made, count(10_000, 1000)),
        ]
    for row in rows:
        row["steps_x_reference"] = round(row["steps_per_s"] / ref, 3)
    return {"sync": sync, "reference_per_s": round(ref, 1), "loads": rows}


async def with_history(finished: int, scale: float) -> Row:
    """Throughput on an empty server, and after many finished runs, on the same server."""
    total = max(800, int(8000 * scale))
    async with rig("2m") as made:
        empty = await closed(made, "empty", chain(3), total, 400)
        fill = await closed(made, "filling", chain(1), finished, 400)
        full = await closed(made, "full", chain(3), total, 400)
    ratio = round(full["runs_per_s"] / empty["runs_per_s"], 3)
    return {"finished_runs": finished, "ratio": ratio, "loads": [empty, fill, full]}


def startup(rounds: int) -> Row:
    """How long commands take, as multiples of a bare interpreter."""
    command = str(Path(sys.executable).with_name("dagnats"))
    cases = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "dagnats --version": [command, "--version"],
        "dagnats --help": [command, "--help"],
    }
    return _timed(cases, rounds)


async def startup_list(rounds: int) -> Row:
    """``run list`` against a live server."""
    async with rig("2m") as made:
        command = str(Path(sys.executable).with_name("dagnats"))
        cases = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "dagnats run list": [command, "run", "list", "--server", made.url],
        }
        return await asyncio.to_thread(_timed, cases, rounds)


def _timed(cases: dict[str, list[str]], rounds: int) -> Row:
    """Median milliseconds of each command, taken in turns, and the ratio to the first."""
    took: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, command in cases.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=30)
            took[name].append((time.perf_counter() - began) * 1e3)
    medians = {name: statistics.median(values) for name, values in took.items()}
    base = medians[next(iter(cases))]
    return {
        name: {"median_ms": round(value, 1), "ratio": round(value / base, 2)}
        for name, value in medians.items()
    }


def show_mode(result: Row) -> None:
    """Print the loads of one mode as a table."""
    print(f"\nsync {result['sync']}: reference {result['reference_per_s']:.0f} publishes/s")
    show_rows(result["loads"])


def show_rows(rows: list[Row]) -> None:
    """Print loads as a table."""
    head = (
        "load",
        "runs/s",
        "steps/s",
        "x ref",
        "p50 ms",
        "p99 ms",
        "us/step srv/drv/eng/wrk",
        "RSS",
    )
    print("{:<30}{:>9}{:>10}{:>8}{:>9}{:>9}  {:<22}{}".format(*head))
    for row in rows:
        micro = "/".join(f"{value:.0f}" for value in row["cpu_us_per_step"].values())
        memory = "/".join(f"{value:.0f}" for value in row["rss_mib"].values())
        print(
            f"{row['name']:<30}{row['runs_per_s']:>9}{row['steps_per_s']:>10}"
            f"{row.get('steps_x_reference', '-'):>8}{row['p50_ms'] or '-':>9}"
            f"{row['p99_ms'] or '-':>9}  {micro:<22}{memory}"
        )


async def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--finished", type=int, default=0, help="finished runs (default 100000)")
    options = parser.parse_args()
    scale = 0.1 if options.quick else 1.0
    finished = options.finished or int(100_000 * scale)
    kept: Row = {
        "version": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "modes": [],
    }
    for sync in ("2m", "always"):
        kept["modes"].append(await one_mode(sync, scale))
        show_mode(kept["modes"][-1])
        _keep(kept)
    kept["history"] = await with_history(finished, scale)
    print(
        f"\nafter {finished} finished runs: {kept['history']['ratio']} x the rate of an empty one"
    )
    show_rows(kept["history"]["loads"])
    _keep(kept)
    kept["startup"] = startup(11) | await startup_list(11)
    print("\nstart-up")
    for name, row in kept["startup"].items():
        print(f"{name:<30}{row['median_ms']:>9} ms{row['ratio']:>8} x")
    _keep(kept)
    print(f"\nKept in {RESULTS.name}")


def _keep(kept: Row) -> None:
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    uvloop.run(main())
