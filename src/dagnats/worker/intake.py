"""Takes tasks of one consumer and has them worked on, as many at a time as allowed."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.task import TaskPayload
from dagnats.telemetry.context import TRACEPARENT
from dagnats.wire.puller import Delivery, Puller
from dagnats.worker.consumers import Consumer
from dagnats.worker.execution import Execution, Services
from dagnats.worker.handler import Handler

log = logging.getLogger("dagnats.worker")

REMEMBERED = 4096
"""Finished tasks remembered, so that one whose acknowledgement was lost is not run again."""

Key = tuple[int, str, int]


class Intake:
    """The tasks of one consumer.

    Args:
        services: of the worker.
        handler: what runs the tasks.
        consumer: where they come from.
        source: the pull loop on it.
        finished: called with each execution that has ended.
    """

    def __init__(
        self,
        services: Services,
        handler: Handler,
        consumer: Consumer,
        source: Puller,
        finished: Callable[[Execution], None],
    ) -> None:
        self.consumer = consumer
        self.draining = False
        self.last_seq = 0
        self.running: dict[Key, Execution] = {}
        self._services = services
        self._handler = handler
        self._source = source
        self._finished = finished
        self._done: OrderedDict[Key, None] = OrderedDict()

    async def run(self) -> None:
        """Take tasks until cancelled."""
        while True:
            for delivery in await self._source.take():
                self._accept(delivery)

    def refuse(self) -> None:
        """Take no more, and hand back what has arrived since the pull loop was stopped."""
        self.draining = True
        for delivery in self._source.take_now():
            self._accept(delivery)

    async def pulse(self) -> None:
        """Keep the tasks that are held, waiting or running, from being delivered again."""
        while True:
            await asyncio.sleep(self.consumer.ack_wait_s / 3)
            for execution in tuple(self.running.values()):
                execution.beat()

    def of_run(self, run_id: str) -> list[Execution]:
        """The tasks of a run that are held here."""
        return [each for each in self.running.values() if each.payload.run_id == run_id]

    def _accept(self, delivery: Delivery) -> None:
        self.last_seq = max(self.last_seq, delivery.stream_seq)
        if self.draining:
            delivery.nak()
            self._source.release()
            return
        payload = _decoded(delivery)
        if payload is None:
            delivery.ack()
            self._source.release()
            return
        key = (delivery.stream_seq, payload.task_id, payload.attempt)
        if self._known(key, delivery):
            self._source.release()
            return
        self._begin(key, payload, delivery)

    def _known(self, key: Key, delivery: Delivery) -> bool:
        """Whether this message was delivered here before: at work still, or finished."""
        if key in self._done:
            delivery.ack()
            return True
        running = self.running.get(key)
        if running is None:
            return False
        # The queue believed us dead. The newer delivery is the one to be acknowledged.
        running.delivery = delivery
        return True

    def _begin(self, key: Key, payload: TaskPayload, delivery: Delivery) -> None:
        execution = Execution(self._services, self._handler, payload, delivery)
        self.running[key] = execution

        def ended(task: asyncio.Task[None]) -> None:
            del self.running[key]
            self._source.release()
            if not task.cancelled():
                self._remember(key, execution)
                self._finished(execution)

        execution.start().add_done_callback(ended)

    def _remember(self, key: Key, execution: Execution) -> None:
        if not execution.handed_back:
            self._done[key] = None
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)


def _decoded(delivery: Delivery) -> TaskPayload | None:
    """The task in a message; None for what is none, which no worker could ever run."""
    try:
        payload = decode(delivery.data, TaskPayload)
    except InvalidError as error:
        log.warning("dropped message %d of the queue: %s", delivery.stream_seq, error)
        return None
    if not payload.run_id or not payload.step_id:
        log.warning("dropped message %d of the queue: no run or step", delivery.stream_seq)
        return None
    if delivery.headers:
        payload.traceparent = delivery.header(TRACEPARENT) or payload.traceparent
    return payload
