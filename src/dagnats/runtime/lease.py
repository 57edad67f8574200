"""One engine is active: it holds a lease, and those that lost it can do no harm.

The lease is the key ``engine`` of the bucket ``leases``. Its holder writes it anew every second,
each time against the revision it knows. Who stands by takes it over when the holder has given it
up, is gone for certain (a process of this machine that ended), or has not written for
:data:`PATIENCE_S`; the holder itself stops before that. Nobody compares clocks: each side measures
on its own what it has seen.

An engine that was stopped for a while (``SIGSTOP``, a paused machine) does not know that it lost
the lease. Two things keep it harmless: it asks before each batch (:meth:`Lease.check`), and what
it may still have under way is refused by the server, see :class:`Fence`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from dagnats.errors import ConflictError, DagnatsError
from dagnats.model.codec import decode, encode
from dagnats.model.records import EngineEpoch, EngineMember
from dagnats.model.times import format_time
from dagnats.runtime.identity import is_gone
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

LEASE = "engine"
STANDBY = "standby."
EPOCH = "epoch"

RENEW_S = 1.0
"""How often the holder writes its lease."""

HOLD_S = 3.0
"""How long after a write the holder may act without writing again."""

PATIENCE_S = 4.0
"""How long a lease must stand still before another may take it: longer than HOLD_S."""

POLL_S = 0.5
"""How often those who stand by look."""

RELEASE_S = 2.0
"""How long giving the lease up may take: the server may be gone."""

KEPT_EPOCHS = 16
"""How many former engines stay fenced off."""

ANNOUNCE_S = 3.0
"""How often those who stand by say so; the bucket forgets them after ten seconds."""

FENCED = {
    "KV_engine_state": "$KV.engine_state.",
    "KV_event_waiters": "$KV.event_waiters.",
    "SLEEP_TIMERS": "sleep.",
}
"""Streams in which a late write could undo a newer one, with what their subjects begin with."""


class LeaseLostError(DagnatsError):
    """Another engine is active now."""

    code = "lease_lost"


class Fence:
    """Makes the server refuse what an engine writes after another has taken over.

    Every write says "only if there is nothing on ``fenced.{epoch}``"; whoever takes over puts
    something there before it reads. Snapshots need no fence: they carry the revision they replace.

    Args:
        epoch: the number of this engine in the succession; 0 fences nothing, for replicated
            streams, which take such a condition for one message at a time only.
    """

    def __init__(self, epoch: int) -> None:
        self._headers = {
            prefix: {
                "Nats-Expected-Last-Subject-Sequence": "0",
                "Nats-Expected-Last-Subject-Sequence-Subject": f"{prefix}fenced.{epoch}",
            }
            for prefix in FENCED.values()
            if epoch
        }

    def sealed(self, messages: list[Outgoing]) -> list[Outgoing]:
        """The same messages, with the condition where there is one."""
        return [self._seal(message) for message in messages]

    def _seal(self, message: Outgoing) -> Outgoing:
        for prefix, condition in self._headers.items():
            if message.subject.startswith(prefix):
                headers = {**message.headers, **condition}
                return Outgoing(message.subject, message.data, message.msg_id, headers)
        return message


class Lease:
    """The right to be the active engine.

    Args:
        stores: the connection.
        me: who asks for it.
        on_standby: called with the holder when it turns out that we have to wait.
    """

    def __init__(
        self,
        stores: Stores,
        me: EngineMember,
        on_standby: Callable[[EngineMember], None],
    ) -> None:
        self._stores = stores
        self._me = me
        self._on_standby = on_standby
        self._revision = 0
        self._deadline = 0.0
        self._seen = (0, 0.0)
        self._announced = -ANNOUNCE_S
        self._writing = asyncio.Lock()

    @property
    def epoch(self) -> int:
        """Our number in the succession of active engines; 0 before the first time."""
        return self._me.epoch

    # --- getting it ---------------------------------------------------------------------------

    async def acquire(self) -> int:
        """Wait until the lease is ours and every former holder is fenced off; our epoch."""
        while True:
            try:
                if await self._take():
                    return await self._succeed()
            except ConflictError:
                continue  # Somebody was faster; look again who it is.
            await asyncio.sleep(POLL_S)

    async def _take(self) -> bool:
        holder, revision = await self._stores.leases.latest(LEASE)
        if holder is not None and not self._may_take(holder, revision):
            await self._stand_by(holder)
            return False
        await self._write(revision)
        return True

    def _may_take(self, holder: EngineMember, revision: int) -> bool:
        if holder.id == self._me.id or is_gone(holder):
            return True
        if self._seen[0] != revision:
            self._seen = (revision, time.monotonic())
        return time.monotonic() - self._seen[1] > PATIENCE_S

    async def _stand_by(self, holder: EngineMember) -> None:
        self._on_standby(holder)
        if time.monotonic() - self._announced > ANNOUNCE_S:
            self._announced = time.monotonic()
            await self._stores.leases.put(f"{STANDBY}{self._me.id}", self._me)

    async def _succeed(self) -> int:
        """Fence the engine before us, unless it said goodbye, and take the next number."""
        state = self._stores.engine_state
        last, revision = await state.latest(EPOCH)
        record = decode(last, EngineEpoch) if last else EngineEpoch(closed=True)
        # Even when it was us: another may have fenced us off and died before it took over.
        if not record.closed:
            await _fence_off(self._stores, record.epoch)
        self._me.epoch = max(record.epoch, self._me.epoch) + 1
        self._me.since = format_time(time.time_ns())
        mine = EngineEpoch(epoch=self._me.epoch, holder=self._me.id)
        await state.update(EPOCH, encode(mine), revision)
        await self._stores.leases.delete(f"{STANDBY}{self._me.id}")
        await self._write(self._revision)  # Now with the epoch in it.
        return self._me.epoch

    # --- keeping it ---------------------------------------------------------------------------

    async def keep(self) -> None:
        """Renew until it is lost.

        Raises:
            LeaseLostError: another engine has it, or NATS could not be reached in time.
        """
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                left = self._deadline - time.monotonic()
                # After a pause of our own the answer may take its time: nothing is written before.
                async with asyncio.timeout(left if left > 0 else HOLD_S):
                    await self._renew()
            except LeaseLostError:
                raise
            except (DagnatsError, TimeoutError) as error:
                if time.monotonic() >= self._deadline:
                    raise LeaseLostError(f"the lease ran out ({error or 'timed out'})") from error

    async def check(self) -> None:
        """Before anything is written: whether we still may. Costs nothing while the lease is fresh.

        Raises:
            LeaseLostError: we may not.
            DagnatsError: nobody could say.
        """
        if time.monotonic() >= self._deadline:
            await self._renew()

    async def _renew(self) -> None:
        async with self._writing:
            try:
                await self._write(self._revision)
            except ConflictError:
                holder, revision = await self._stores.leases.latest(LEASE)
                if holder is not None and holder.id != self._me.id:
                    raise LeaseLostError(f"the engine on {holder.host} is active now") from None
                # Ours, with an acknowledgement that got lost, or gone with a server's crash.
                await self._write(revision)

    async def _write(self, revision: int) -> None:
        began = time.monotonic()
        self._revision = await self._stores.leases.update(LEASE, self._me, revision)
        self._deadline = began + HOLD_S

    # --- giving it up -------------------------------------------------------------------------

    async def release(self) -> None:
        """Let the next one begin at once. Call it when nothing is under way any more."""
        leases, state = self._stores.leases, self._stores.engine_state
        with contextlib.suppress(DagnatsError, TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await leases.delete(f"{STANDBY}{self._me.id}")
                if time.monotonic() >= self._deadline:
                    return
                last, revision = await state.latest(EPOCH)
                if last is not None and decode(last, EngineEpoch).holder == self._me.id:
                    bye = EngineEpoch(epoch=self._me.epoch, holder=self._me.id, closed=True)
                    await state.update(EPOCH, encode(bye), revision)
                holder, revision = await leases.latest(LEASE)
                if holder is not None and holder.id == self._me.id:
                    await leases.delete(LEASE, revision)


async def _fence_off(stores: Stores, epoch: int) -> None:
    """From here on the server refuses what the engine of that number writes."""
    mark = encode(EngineEpoch(epoch=epoch, closed=True))
    marks = [Outgoing(f"{prefix}fenced.{epoch}", mark) for prefix in FENCED.values()]
    await stores.publisher.publish_all(marks)
    for stream, prefix in FENCED.items():
        old = f"{prefix}fenced.{epoch - KEPT_EPOCHS}"
        await stores.bus.api(f"STREAM.PURGE.{stream}", {"filter": old})
