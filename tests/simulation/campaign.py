"""Many seeds: ``python -m tests.simulation.campaign --seeds 1000`` (``make simulate SEEDS=1000``)."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator

from .scenario import Scenario, scenario
from .world import play_scenario

logging.disable(logging.CRITICAL)


def judge(played: Scenario) -> tuple[list[str], Counter[str]]:
    """What is broken, and what was exercised."""
    try:
        world = play_scenario(played)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is a finding
        where = traceback.format_exc(limit=-4)
        return [f"{type(error).__name__}: {error}\n{where}"], Counter()
    return world.judge.failures, world.judge.features


def judge_seed(seed: int) -> tuple[int, list[str], Counter[str]]:
    """The verdict on one seed."""
    return seed, *judge(scenario(seed))


def campaign(first: int, count: int, jobs: int) -> Iterator[tuple[int, list[str], Counter[str]]]:
    """The verdicts on many seeds, in order."""
    seeds = range(first, first + count)
    if jobs <= 1:
        yield from map(judge_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(judge_seed, seeds, chunksize=8)


def main() -> int:
    """Play, print, and say by the exit code whether all was well."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stop", type=int, default=10, help="stop after so many failing seeds")
    options = parser.parse_args()
    began, broken, played = time.perf_counter(), 0, 0
    total: Counter[str] = Counter()
    share: Counter[str] = Counter()
    for seed, failures, features in campaign(options.first, options.seeds, options.jobs):
        played += 1
        total += features
        share.update(name for name, number in features.items() if number)
        if failures:
            broken += 1
            print(f"seed {seed}:", *failures, sep="\n    ", flush=True)
            if broken >= options.stop:
                break
    for name in sorted(total):
        print(f"{name:<40}{total[name]:>9}   in {share[name] / played:6.1%} of the seeds")
    took = time.perf_counter() - began
    print(f"{played} seeds, {broken} broken, {took:.0f} s, {took / played * 1e3:.0f} ms a seed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
