"""Taking consumers over from an engine that died, or that went on without being asked to.

What the other engine was given and did not acknowledge has to come again, at once and in order:
the engine's consumer acknowledges in bulk, and its reader drops events behind the newest one seen.
"""

from __future__ import annotations

import contextlib
from typing import Any

from dagnats.errors import NotFoundError
from dagnats.wire.connection import Bus
from dagnats.wire.features import Features
from dagnats.wire.topology import ENGINE, FLOOR, consumer_config, engine_config

HISTORY = "WORKFLOW_HISTORY"

_READ = (
    ("SLEEP_TIMERS", "sleep-timer"),
    ("SLEEP_TIMERS", "scheduled-run-timer"),
    ("EVENTS", "event-correlator"),
)
"""What an engine reads besides the history."""


async def take_over(bus: Bus) -> int:
    """Let everything that is not acknowledged be delivered anew, to us.

    Returns:
        The consumer sequence of the engine's consumer before its first delivery: whoever reads
        it sees each further one, or somebody else reads as well.
    """
    features = await Features.of(bus)
    for stream, name in _READ:
        if features.reset:
            await bus.api(f"CONSUMER.RESET.{stream}.{name}", {})
        elif stream == "SLEEP_TIMERS":
            # A work queue holds nothing but what is not acknowledged.
            await _made_anew(bus, stream, consumer_config(name, features))
    if features.reset:
        answer = await bus.api(f"CONSUMER.RESET.{HISTORY}.{ENGINE}", {})
    else:
        answer = await _engine_anew(bus)
    return int(answer["delivered"]["consumer_seq"])


async def _made_anew(bus: Bus, stream: str, config: dict[str, Any]) -> dict[str, Any]:
    name = config["name"]
    with contextlib.suppress(NotFoundError):  # Somebody was killed between these two lines.
        await bus.api(f"CONSUMER.DELETE.{stream}.{name}")
    body = {"stream_name": stream, "config": config}
    return await bus.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)


async def _engine_anew(bus: Bus) -> dict[str, Any]:
    """Servers before 2.14 cannot reset: note where it stands, then make it anew from there."""
    info = await bus.api(f"CONSUMER.INFO.{HISTORY}.{ENGINE}")
    floor = info["ack_floor"]["stream_seq"]
    await bus.request(FLOOR, str(floor).encode())
    return await _made_anew(bus, HISTORY, engine_config(floor))
