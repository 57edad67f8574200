"""Taking consumers over from an engine that died, or that went on without being asked to.

What the other engine was given and did not acknowledge has to come again, at once and in order:
the engine's consumer acknowledges in bulk, and its reader drops events behind the newest one seen.
"""

from __future__ import annotations

import contextlib
from typing import Any

from msgspec import Struct

from dagnats.errors import NotFoundError
from dagnats.wire.connection import Bus
from dagnats.wire.features import Features
from dagnats.wire.topology import ENGINE, FLOOR, engine_config

HISTORY = "WORKFLOW_HISTORY"

_READ = (
    ("SLEEP_TIMERS", "sleep-timer"),
    ("SLEEP_TIMERS", "scheduled-run-timer"),
    ("EVENTS", "event-correlator"),
)
"""What an engine reads besides the history."""


class Place(Struct, frozen=True):
    """Where the engine's consumer stands.

    Args:
        delivered: its sequence before its first delivery: whoever reads it sees each further one,
            or somebody else reads as well.
        floor: everything in the history up to this sequence is acknowledged.
        last: what lies in the history now reaches to this sequence; ``floor`` if nothing is left.
    """

    delivered: int
    floor: int
    last: int


async def take_over(bus: Bus) -> Place:
    """Let everything that is not acknowledged be delivered anew, to us."""
    features = await Features.of(bus)
    if not features.reset:
        # The others' messages come again when the ack wait ends, in no particular order.
        answer = await _engine_anew(bus)
    else:
        for stream, name in _READ:
            await bus.api(f"CONSUMER.RESET.{stream}.{name}", {})
        answer = await bus.api(f"CONSUMER.RESET.{HISTORY}.{ENGINE}", {})
    floor = int(answer["ack_floor"]["stream_seq"])
    last = (await bus.api(f"STREAM.INFO.{HISTORY}"))["state"]["last_seq"]
    return Place(
        delivered=int(answer["delivered"]["consumer_seq"]),
        floor=floor,
        last=int(last) if answer["num_pending"] else floor,
    )


async def _engine_anew(bus: Bus) -> dict[str, Any]:
    """Servers before 2.14 cannot reset: note where it stands, then make it anew from there."""
    info = await bus.api(f"CONSUMER.INFO.{HISTORY}.{ENGINE}")
    floor = info["ack_floor"]["stream_seq"]
    await bus.request(FLOOR, str(floor).encode())
    with contextlib.suppress(NotFoundError):  # Somebody was killed between these two lines.
        await bus.api(f"CONSUMER.DELETE.{HISTORY}.{ENGINE}")
    body = {"stream_name": HISTORY, "config": engine_config(floor)}
    return await bus.api(f"CONSUMER.DURABLE.CREATE.{HISTORY}.{ENGINE}", body)
