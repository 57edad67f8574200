"""What causes events besides workers: timers that are due, and events that users publish."""

from __future__ import annotations

import time
from itertools import chain

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import EventType
from dagnats.model.times import MILLISECOND
from dagnats.runtime.lease import Lease
from dagnats.runtime.messages import event_message
from dagnats.runtime.timers import TimerBody
from dagnats.runtime.waiters import Waiters
from dagnats.wire import delayed
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery, Puller
from dagnats.wire.stores import Stores

LOOK_NS = 50 * MILLISECOND
LOOKS = 40
"""How often, and how many times, the timeout of a wait looks whether events are still on the way.

After an outage both come at once; whichever is stored first decides what the wait saw.
"""

_ENDS_WAIT = f'"type":"{EventType.WAIT_TIMEOUT.value}"'.encode()


class Causes:
    """Turns deliveries into events of runs.

    Args:
        stores: the connection.
        lease: asked before anything is published.
        waiters: who waits for an event.
    """

    def __init__(self, stores: Stores, lease: Lease, waiters: Waiters) -> None:
        self._bus = stores.bus
        self._publisher = stores.publisher
        self._lease = lease
        self._waiters = waiters

    async def fire_timers(self, puller: Puller) -> None:
        """Work until cancelled."""
        while True:
            now = time.time_ns()
            fired: list[Delivery] = []
            for delivery in await puller.take():
                left = delayed.due(delivery) - now if delayed.waits(delivery) else 0
                if left > 0:
                    delivery.nak(left)
                else:
                    fired.append(delivery)
            plain = [each for each in fired if not _ends_wait(each)]
            await self._pass_on([_fired(each) for each in plain], plain)
            await self._end_waits([each for each in fired if _ends_wait(each)])

    async def _end_waits(self, fired: list[Delivery]) -> None:
        """Let waits time out, but not before what was published in time has been looked at."""
        if not fired:
            return
        info = await self._bus.api("CONSUMER.INFO.EVENTS.event-correlator")
        behind = info["num_pending"] or info["num_ack_pending"]
        late = [each for each in fired if behind and each.delivered <= LOOKS]
        for delivery in late:
            delivery.nak(LOOK_NS)
        ended = [each for each in fired if each not in late]
        await self._pass_on([_fired(each) for each in ended], ended)

    async def correlate(self, puller: Puller) -> None:
        """Work until cancelled."""
        while True:
            deliveries = await puller.take()
            matched = [
                self._waiters.matched(
                    delivery.subject.partition(".")[2],
                    delivery.data,
                    delivery.stream_seq,
                    delivery.timestamp_ns,
                )
                for delivery in deliveries
            ]
            await self._pass_on(matched, deliveries)

    async def _pass_on(self, messages: list[list[Outgoing]], sources: list[Delivery]) -> None:
        """Publish what deliveries lead to, then acknowledge them."""
        try:
            await self._lease.check()
            await self._publisher.publish_all(list(chain.from_iterable(messages)))
        except DagnatsError:
            for delivery in sources:
                delivery.nak()  # At once to whoever goes on, not when the ack wait ends.
            raise
        for delivery in sources:
            delivery.ack()


def _ends_wait(delivery: Delivery) -> bool:
    return _ENDS_WAIT in delivery.data[:100]


def _fired(delivery: Delivery) -> list[Outgoing]:
    if delayed.waits(delivery):
        moved = delayed.arrived(delivery)
        if not moved.subject.startswith("sleep.fire."):
            return [moved]  # Not one of ours.
    try:
        body = decode(delivery.data, TimerBody)
    except InvalidError:
        return []
    return [event_message(body.event, body.msg_id)]
