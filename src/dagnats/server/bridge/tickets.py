"""Task ids that carry what is needed to report about a task; signed, so none can be made up."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import secrets

import msgspec
from msgspec import Struct

from dagnats.errors import ConflictError, NotFoundError
from dagnats.model.task import TaskPayload
from dagnats.wire.puller import Delivery
from dagnats.wire.stores import Stores

KEY = "bridge"
"""Key of ``engine_state`` under which the signing secret lies: one per deployment."""

MAX_ID = 4096
"""Longest task id, in characters."""

MARK = "~"
"""Between ``{run}.{step}`` and the rest; no id of ours contains it."""

MAC_BYTES = 16


class Ticket(Struct, frozen=True, array_like=True):
    """What a task id carries.

    Args:
        attempt: number of the engine's dispatch as the task named it; 0: the first.
        iteration: of a loop step.
        queued_ns: when the task was queued, ns since 1970.
        ack: where its acknowledgements go.
        worker_id: who has it; may be empty.
        traceparent: W3C trace context of the task.
    """

    run_id: str
    step_id: str
    attempt: int
    iteration: int
    queued_ns: int
    ack: str
    worker_id: str = ""
    traceparent: str = ""

    @property
    def payload(self) -> TaskPayload:
        """As much of the task as events about it need."""
        return TaskPayload(
            task_id=f"{self.run_id}.{self.step_id}",
            run_id=self.run_id,
            step_id=self.step_id,
            attempt=self.attempt,
            iteration=self.iteration,
            traceparent=self.traceparent,
        )


class Tickets:
    """Writes and reads task ids.

    Args:
        secret: signs them.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    async def of(cls, stores: Stores) -> Tickets:
        """With the secret of this deployment, which is made on the first call."""
        with contextlib.suppress(ConflictError):
            await stores.engine_state.create(KEY, secrets.token_bytes(32))
        entry = await stores.engine_state.get(KEY)
        assert entry is not None
        return cls(entry.value)

    def issue(self, payload: TaskPayload, delivery: Delivery, worker_id: str) -> str:
        """The id under which a task is handed out: ``{run}.{step}~…``."""
        ticket = Ticket(
            payload.run_id,
            payload.step_id,
            payload.attempt,
            payload.iteration,
            delivery.timestamp_ns,
            delivery.reply,
            worker_id,
            payload.traceparent,
        )
        body = msgspec.msgpack.encode(ticket)
        signed = base64.urlsafe_b64encode(self._mac(body) + body).decode().rstrip("=")
        return f"{payload.run_id}.{payload.step_id}{MARK}{signed}"

    def read(self, task_id: str) -> Ticket:
        """The ticket of a task id.

        Raises:
            NotFoundError: no server of this deployment issued it.
        """
        signed = task_id.rpartition(MARK)[2]
        if MARK not in task_id or len(task_id) > MAX_ID:
            raise _unknown()
        try:
            data = base64.b64decode(signed + "=" * (-len(signed) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _unknown() from None
        mac, body = data[:MAC_BYTES], data[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _unknown()
        return msgspec.msgpack.decode(body, type=Ticket)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, hashlib.sha256)[:MAC_BYTES]


def _unknown() -> NotFoundError:
    return NotFoundError("task not found", "use the task_id exactly as the poll gave it")
