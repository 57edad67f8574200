"""What the command line costs: start-up, read commands, and the same against a large store.

``python -m benchmarks.cli`` fills a store of 50 runs and one of 100 000 (10 000 dead letters, a
million history events), runs each command as a process of its own, and writes
``benchmarks/cli.json``. With ``--check`` it ends with 1 when a budget is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.large_store import WORKFLOW, Made, Size, fill, server

RESULTS = Path(__file__).parent / "cli.json"
PROGRAM = (sys.executable, "-m", "dagnats")
SMALL = Size(runs=50, dead=5, events=500, logs=50)

STARTS = {"--version": 5.0, "--help": 8.0}
"""How many times ``python -c pass`` each may take."""

READ_S = 0.25
"""How long a read command may take against a local server."""

LARGE_RATIO = 3.0
"""The newest 50 of 100 000 runs against 50 of 50."""

Row = dict[str, Any]


def lines(made: Made) -> dict[str, tuple[str, ...]]:
    """The commands that are measured, by what they are called."""
    failed = made.failed[len(made.failed) // 2]
    return {
        "run list --limit=50": ("run", "list", "--limit=50"),
        "run list --status=failed --limit=50": ("run", "list", "--status=failed", "--limit=50"),
        "run status --last": ("run", "status", "--last"),
        "run status PREFIX": ("run", "status", made.ids[len(made.ids) // 2][:12]),
        "run status ID": ("run", "status", made.ids[0]),
        "run events ID": ("run", "events", made.ids[0]),
        "run inspect ID": ("run", "inspect", failed),
        "run count": ("run", "count"),
        "run count --status=failed": ("run", "count", "--status=failed"),
        "status": ("status",),
        "status --detail": ("status", "--detail"),
        "dlq list": ("dlq", "list"),
        "dlq list --run": ("dlq", "list", f"--run={failed}"),
        "logs --tail=50": ("logs", "--tail=50"),
        "logs --tail=50 --run": ("logs", "--tail=50", f"--run={made.ids[-1]}"),
        "run cancel-all --dry-run": ("run", "cancel-all", f"--workflow={WORKFLOW}", "--dry-run"),
        "run retry-all --dry-run": (
            *("run", "retry-all", f"--workflow={WORKFLOW}", "--mode=replay", "--dry-run"),
        ),
        "clean --dry-run": ("clean", "--dry-run"),
        "workflow list": ("workflow", "list"),
        "trigger list": ("trigger", "list"),
        "workers list": ("workers", "list"),
    }


QUICK = frozenset(
    {
        *("run list --limit=50", "run status --last", "run status ID", "run events ID"),
        *("run inspect ID", "dlq list", "logs --tail=50", "workflow list", "trigger list"),
        *("workers list",),
    }
)
"""Commands that read a few things only, however many there are."""


def seconds(command: tuple[str, ...], env: dict[str, str], times: int) -> float:
    """The best time of a command, which must succeed: others measure what else the machine does."""
    return min(took(command, env)[0] for _ in range(times))


def took(command: tuple[str, ...], env: dict[str, str]) -> tuple[float, float]:
    """Elapsed and processor time of a command. The second holds on a busy machine as well."""
    began, before = time.perf_counter(), _children()
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=120)
    elapsed, used = time.perf_counter() - began, _children() - before
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return elapsed, used


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def starts(times: int) -> dict[str, Row]:
    """Start-up against an interpreter that does nothing."""
    env = dict(os.environ)
    bare = seconds((sys.executable, "-c", "pass"), env, times * 3)
    found: dict[str, Row] = {"python -c pass": {"seconds": round(bare, 4)}}
    for word, limit in STARTS.items():
        took = seconds((*PROGRAM, word), env, times * 3)
        ratio = round(took / bare, 2)
        found[word] = {"seconds": round(took, 4), "ratio": ratio, "limit": limit}
    return found


async def store(size: Size, times: int) -> dict[str, tuple[float, float]]:
    """Every command against a store of that size: the best elapsed and processor times."""
    with tempfile.TemporaryDirectory(prefix="dagnats-bench-") as folder:
        async with server(Path(folder)) as made_server:
            made = await fill(made_server.url, size)
            env = {**os.environ, "DAGNATS_NATS_URL": made_server.url}
            return await asyncio.to_thread(_measured, made, env, times)


def _measured(made: Made, env: dict[str, str], times: int) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for name, words in lines(made).items():
        pairs = [took((*PROGRAM, *words), env) for _ in range(times)]
        elapsed, used = (min(values) for values in zip(*pairs, strict=True))
        found[name] = round(elapsed, 4), round(used, 4)
    return found


def broken(found: Row) -> list[str]:
    """The budgets that are not kept."""
    faults = [
        f"{word}: {row['ratio']} times python -c pass, at most {row['limit']}"
        for word, row in found["start"].items()
        if "limit" in row and row["ratio"] > row["limit"]
    ]
    for name, row in found["commands"].items():
        if name in QUICK and row["small"] > READ_S:
            faults.append(f"{name}: {row['small']} s, at most {READ_S} s")
    listing = found["commands"]["run list --limit=50"]
    if listing["ratio"] > LARGE_RATIO:
        faults.append(f"run list of many: {listing['ratio']} times that of few")
    return faults


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What the command line costs.")
    parser.add_argument("--times", type=int, default=5, help="runs of each command")
    parser.add_argument("--runs", type=int, default=Size().runs, help="size of the large store")
    parser.add_argument("--check", action="store_true", help="end with 1 over budget")
    given = parser.parse_args()
    large = Size(runs=given.runs, dead=given.runs // 10, events=given.runs * 10, logs=given.runs)
    few = asyncio.run(store(SMALL, given.times))
    many = asyncio.run(store(large, max(1, given.times // 2)))
    commands = {
        name: {
            "small": few[name][0],
            "large": many[name][0],
            "ratio": round(many[name][0] / few[name][0], 2),
            "small_cpu": few[name][1],
            "large_cpu": many[name][1],
        }
        for name in few
    }
    found: Row = {"runs": given.runs, "start": starts(given.times), "commands": commands}
    faults = broken(found)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _print(found, faults)
    return 1 if faults and given.check else 0


def _print(found: Row, faults: list[str]) -> None:
    for word, row in found["start"].items():
        print(f"{word:<40} {row['seconds'] * 1e3:8.0f} ms  {row.get('ratio', '')}")
    print(f"\n{'':<40} {'50 runs':>11} {found['runs']:>11,} runs")
    for name, row in found["commands"].items():
        few, many, used = row["small"] * 1e3, row["large"] * 1e3, row["large_cpu"] * 1e3
        print(f"{name:<40} {few:8.0f} ms {many:12.0f} ms  {row['ratio']}x  ({used:.0f} ms cpu)")
    for fault in faults:
        print(f"over budget: {fault}")


if __name__ == "__main__":
    sys.exit(main())
