"""Handing tasks out: several task types at once, and none that nobody wants any more."""

from __future__ import annotations

import logging
import random
import re
import time

from msgspec import Raw, Struct

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import ABSENT, Wire, decode
from dagnats.model.event import EventType
from dagnats.model.run import DONE_STEP, RunStatus, WorkflowRun
from dagnats.model.task import TaskPayload
from dagnats.server.bridge.tickets import Tickets
from dagnats.services.run_query import RUN_PREFIX
from dagnats.wire import subjects
from dagnats.wire.fetch import Fetch
from dagnats.wire.puller import Delivery
from dagnats.worker.consumers import TASKS, ensure_durable
from dagnats.worker.handler import TaskOptions
from dagnats.worker.link import WorkerLink
from dagnats.worker.records import event_message

log = logging.getLogger("dagnats.bridge")

MAX_TASK_TYPE = 128
"""Longest task type, in bytes (``wire.md`` 13.2)."""

MAX_TYPES = 100
"""Most task types in one poll."""

KNOWN_S = 30.0
"""How long a consumer that was seen counts as there, in seconds."""

STARTED_RETRY_NS = 5_000_000_000
"""Delay before a task whose start could not be recorded comes again."""

_ILLEGAL = re.compile(r"[^A-Za-z0-9\-_.]")


class PolledTask(Wire):
    """A task as a worker gets it.

    Args:
        task_id: under which its result is reported; opaque behind the ``~``.
        attempt: number of the engine's dispatch, from 1.
        checkpoint: what an earlier attempt left; where there is none, it is left out.
        heartbeat_ms: send a sign of life more often than this.
    """

    task_id: str
    run_id: str
    step_id: str
    iteration: int = 0
    attempt: int = 0
    input: Raw = ABSENT
    metadata: dict[str, str] = {}
    checkpoint: Raw = ABSENT
    workflow_name: str = ""
    task_type: str = ""
    heartbeat_ms: int = 0
    traceparent: str = ""
    tracestate: str = ""


class _Queue(Struct, frozen=True):
    task: str
    consumer: str
    ack_wait_s: float
    until: float


def check_task_types(types: list[str]) -> list[str]:
    """Task types of a request, each once.

    Raises:
        InvalidError: there are none or too many, or one cannot be a task type.
    """
    if not types:
        raise InvalidError("task_types is required")
    if len(types) > MAX_TYPES:
        raise InvalidError(f"{len(types)} task types; {MAX_TYPES} are allowed")
    for name in types:
        if reason := _type_problem(name):
            raise InvalidError(reason)
    return list(dict.fromkeys(types))


def _type_problem(name: str) -> str:
    if not name:
        return "task_types entries must not be empty"
    if len(name.encode("utf-8", "replace")) > MAX_TASK_TYPE:
        return f"task type exceeds {MAX_TASK_TYPE} bytes"
    shown = f"invalid task type {name!r}: "
    if illegal := _ILLEGAL.search(name):
        return f"{shown}illegal character {illegal[0]!r}"
    if name.startswith(".") or name.endswith("."):
        return f"{shown}must not start or end with '.'"
    return f"{shown}empty subject token" if ".." in name else ""


class Polling:
    """Gives tasks to whoever asks.

    Args:
        link: the connection.
        tickets: makes the task ids.
        ack_wait_s: of consumers that no other worker has made, in seconds.
    """

    def __init__(self, link: WorkerLink, tickets: Tickets, ack_wait_s: float) -> None:
        self._link = link
        self._tickets = tickets
        self._options = TaskOptions(ack_wait_s=ack_wait_s)
        self._known: dict[str, _Queue] = {}

    async def poll(
        self, types: list[str], most: int, wait_s: float, worker_id: str = ""
    ) -> list[PolledTask]:
        """Tasks of these types: those that are there, else the first that come.

        Args:
            types: task types, all of which are asked for.
            most: how many tasks at most.
            wait_s: how long to wait for the first, in seconds.
            worker_id: who asks; recorded with the start of each step.

        Raises:
            DagnatsError: none of the types has a queue.
        """
        deadline = time.monotonic() + wait_s
        while True:
            queues = await self._queues(types)
            left = deadline - time.monotonic()
            fetch = Fetch(self._link.bus, TASKS, list(queues), most)
            fetched = await fetch.take(max(0.0, left))
            for consumer in fetched.gone:
                self._known.pop(queues[consumer].task, None)
            try:
                tasks = await self._accept(fetched.deliveries, queues, worker_id)
            except BaseException:
                _hand_back(fetched.deliveries)
                raise
            # Nobody wanted what came: there may be more behind it.
            if tasks or deadline - time.monotonic() <= 0:
                return tasks

    async def _queues(self, types: list[str]) -> dict[str, _Queue]:
        """The queues by consumer; a type that fails fails alone, all of them together fail."""
        found: dict[str, _Queue] = {}
        error: DagnatsError | None = None
        for task in types:
            try:
                queue = await self._queue(task)
            except DagnatsError as failure:
                log.warning("cannot poll task %s: %s", task, failure.message)
                error = failure
            else:
                found[queue.consumer] = queue
        if not found and error is not None:
            raise error
        # Whoever comes first in every list would leave nothing for the others.
        names = random.sample(list(found), len(found))
        return {name: found[name] for name in names}

    async def _queue(self, task: str) -> _Queue:
        known = self._known.get(task)
        if known is not None and known.until > time.monotonic():
            return known
        made = await ensure_durable(self._link.bus, task, self._options, adopt=True)
        queue = _Queue(task, made.name, made.ack_wait_s, time.monotonic() + KNOWN_S)
        if len(self._known) > 10 * MAX_TYPES:
            self._known.clear()
        self._known[task] = queue
        return queue

    async def _accept(
        self, deliveries: list[tuple[str, Delivery]], queues: dict[str, _Queue], worker_id: str
    ) -> list[PolledTask]:
        decoded = [
            (queues[consumer], delivery, payload)
            for consumer, delivery in deliveries
            if (payload := _decoded(delivery)) is not None
        ]
        runs = await self._runs([payload.run_id for _, _, payload in decoded])
        tasks: list[PolledTask] = []
        for queue, delivery, payload in decoded:
            if not wanted(runs.get(payload.run_id), payload, delivery.delivered):
                delivery.ack()
            elif await self._started(payload, delivery, worker_id):
                tasks.append(await self._polled(queue, delivery, payload, worker_id))
        return tasks

    async def _runs(self, run_ids: list[str]) -> dict[str, WorkflowRun]:
        keys = [RUN_PREFIX + run_id for run_id in dict.fromkeys(run_ids)]
        found = await self._link.stores.runs.get_many(keys)
        return {entry.value.run_id: entry.value for entry in found.values()}

    async def _started(self, payload: TaskPayload, delivery: Delivery, worker_id: str) -> bool:
        message = event_message(
            EventType.STEP_STARTED,
            payload,
            ABSENT,
            worker_id=worker_id,
            queued_ns=delivery.timestamp_ns,
        )
        error = await self._link.outbox.post(message).future
        if error is None:
            return True
        log.warning("cannot hand out task %s: %s", payload.task_id, error.message)
        delivery.nak(STARTED_RETRY_NS)
        return False

    async def _polled(
        self, queue: _Queue, delivery: Delivery, payload: TaskPayload, worker_id: str
    ) -> PolledTask:
        return PolledTask(
            task_id=self._tickets.issue(payload, delivery, worker_id),
            run_id=payload.run_id,
            step_id=payload.step_id,
            iteration=payload.iteration,
            attempt=payload.attempt or 1,
            input=payload.input,
            metadata=payload.metadata,
            checkpoint=await self._checkpoint(payload, delivery),
            workflow_name=payload.workflow_name,
            task_type=queue.task,
            heartbeat_ms=int(queue.ack_wait_s * 500),
            traceparent=payload.traceparent,
            tracestate=payload.tracestate,
        )

    async def _checkpoint(self, payload: TaskPayload, delivery: Delivery) -> Raw:
        """What the step remembered; only one that was at work before can have something."""
        if delivery.delivered <= 1 and payload.attempt <= 1 and not payload.iteration:
            return ABSENT
        key = f"{payload.run_id}.{payload.step_id}"
        data = await self._link.load_checkpoint(key) if subjects.is_key(key) else None
        return Raw(data) if data else ABSENT


def _decoded(delivery: Delivery) -> TaskPayload | None:
    """The task in a message; what is none is taken out of the queue."""
    try:
        payload = decode(delivery.data, TaskPayload)
    except InvalidError as error:
        log.warning("dropped message %d of the queue: %s", delivery.stream_seq, error.message)
    else:
        if payload.run_id and payload.step_id:
            return payload
        log.warning("dropped message %d of the queue: no run or step", delivery.stream_seq)
    delivery.ack()
    return None


def wanted(run: WorkflowRun | None, payload: TaskPayload, delivered: int) -> bool:
    """Whether somebody waits for the result of a task.

    Args:
        run: its snapshot, as far as one is known.
        payload: the task.
        delivered: how often it was handed out, this time included. What was handed out before may
            be done: its result was recorded, and only the acknowledgement got lost.
    """
    if run is None:
        return True
    if run.status == RunStatus.CANCELLED:
        return False
    if delivered <= 1:
        return True
    base, mapped, index = payload.step_id.partition(".map.")
    state = run.steps.get(base)
    if state is None:
        return True
    if mapped and index.isdigit() and int(index) < len(state.map_instances):
        return state.map_instances[int(index)].status not in ("completed", "skipped")
    return state.status not in DONE_STEP and state.dispatch <= max(1, payload.attempt)


def _hand_back(deliveries: list[tuple[str, Delivery]]) -> None:
    """The caller is gone, or something failed: the next one gets the tasks at once."""
    for _, delivery in deliveries:
        delivery.nak()
