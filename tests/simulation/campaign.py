"""Many seeds: ``make simulate SEEDS=1000``, or ``python -m tests.simulation.campaign``."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator

from .bugs import BUGS
from .scenario import Scenario, scenario
from .world import play_scenario


def judge(played: Scenario) -> tuple[list[str], Counter[str]]:
    """What is broken, and what was exercised."""
    logging.disable(logging.CRITICAL)  # Faults are what it is about; they fill no log.
    try:
        world = play_scenario(played)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is a finding
        where = traceback.format_exc(limit=-4)
        return [f"{type(error).__name__}: {error}\n{where}"], Counter()
    finally:
        logging.disable(logging.NOTSET)
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


def first_to_find(bug: str, first: int, count: int) -> tuple[int, list[str]]:
    """The first seed under which a planted mistake breaks an invariant; 0 if none does."""
    with BUGS[bug]():
        for seed in range(first, first + count):
            failures, _ = judge(scenario(seed))
            if failures:
                return seed, failures
    return 0, []


def _hunt(bug: str, first: int, count: int) -> int:
    seed, failures = first_to_find(bug, first, count)
    if not seed:
        print(f"{bug}: not found within {count} seeds")
        return 1
    print(
        f"{bug}: found by seed {seed}, the {seed - first + 1}. of {count}", *failures, sep="\n    "
    )
    return 0


def main() -> int:
    """Play, print, and say by the exit code whether all was well."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stop", type=int, default=10, help="stop after so many failing seeds")
    parser.add_argument("--bug", default="", choices=["", *BUGS], help="plant this mistake")
    options = parser.parse_args()
    if options.bug:
        return _hunt(options.bug, options.first, options.seeds)
    began, broken, played = time.perf_counter(), 0, 0
    total: Counter[str] = Counter()
    share: Counter[str] = Counter()
    for seed, failures, features in campaign(options.first, options.seeds, options.jobs):
        played += 1
        total += features
        share.update(name for name, number in features.items() if number)
        if played % 1000 == 0:
            print(f"{played} seeds, {broken} broken", file=sys.stderr, flush=True)
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
