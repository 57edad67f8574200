"""Messages for later: kept by the server until they are due, or by their consumer.

Servers from 2.12 on publish a message on its target when it is due. With an older one it lies on
its own subject, and whoever reads it puts it off with a delayed negative acknowledgement
(``wire.md`` 6.6).
"""

from __future__ import annotations

from dagnats.model.times import format_time, read_time
from dagnats.wire.features import Features
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery

_DUE, _TARGET = "Dagnats-Due", "Dagnats-Target"


def delayed(place: str, target: str, due_ns: int, body: bytes, features: Features) -> Outgoing:
    """A message that arrives on ``target`` when it is due; replaces what waits on ``place``.

    Args:
        place: subject in SLEEP_TIMERS under which the order lies; begins with ``sleep.at.``.
        target: subject in SLEEP_TIMERS.
        due_ns: when, ns since 1970.
        body: what.
        features: of the server.
    """
    when = format_time(due_ns)
    if features.schedules:
        headers = {"Nats-Schedule": f"@at {when}", "Nats-Schedule-Target": target}
    else:
        headers = {_DUE: when, _TARGET: target, "Nats-Rollup": "sub"}
    return Outgoing(place, body, headers=headers)


def waits(delivery: Delivery) -> bool:
    """Whether a message still lies where it was put."""
    return delivery.subject.startswith("sleep.at.")


def due(delivery: Delivery) -> int:
    """When a message that :func:`waits` is due, ns since 1970."""
    scheduled = delivery.header("Nats-Schedule").removeprefix("@at ")
    return read_time(delivery.header(_DUE) or scheduled) or 0


def arrived(delivery: Delivery) -> Outgoing:
    """A message that :func:`waits`, on its target."""
    target = delivery.header(_TARGET) or delivery.header("Nats-Schedule-Target")
    return Outgoing(target, delivery.data)
