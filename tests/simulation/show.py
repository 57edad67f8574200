"""One seed in full: ``python -m tests.simulation.show SEED [RUN]``."""

from __future__ import annotations

import json
import logging
import sys

from dagnats.model.codec import decode
from dagnats.model.event import Event

from .loop import BEGIN_S
from .scenario import scenario
from .world import play_scenario


def main() -> None:
    """Print the scenario, the log of one run, and what is broken."""
    logging.disable(logging.CRITICAL)
    seed, run = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    played = scenario(seed)
    world = play_scenario(played)
    for workflow in played.workflows:
        print(json.dumps(workflow))
    print(played.engines, played.fuse, played.slow, played.deaf)
    for act in played.acts:
        print(f"{act.at:8.3f}", act.do, act.what)
    for stored in world.server.streams["WORKFLOW_HISTORY"].messages.values():
        if stored.subject == f"history.{run}":
            event = decode(stored.data, Event)
            payload = bytes(event.payload).decode()[:100]
            at = stored.ts / 1e9 - BEGIN_S
            print(f"{at:8.3f} {stored.seq:4} {event.type:24} {event.step_id:10}", end=" ")
            print(event.attempt_number, stored.headers.get("Nats-Msg-Id", "-"), payload)
    if run:
        print(world.snapshot(run))
    print(*world.judge.failures, sep="\n")


if __name__ == "__main__":
    main()
