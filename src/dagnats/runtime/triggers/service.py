"""The trigger service of a server: keeps what runs in step with what the bucket says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Protocol

from dagnats.errors import DagnatsError
from dagnats.model.codec import encode
from dagnats.model.trigger import TriggerDef, trigger_kind
from dagnats.model.validate import validate_trigger
from dagnats.runtime.keeper import Keeper
from dagnats.runtime.triggers.cron import CronTriggers
from dagnats.runtime.triggers.debounce import Debouncer
from dagnats.runtime.triggers.external import ExternalTriggers
from dagnats.runtime.triggers.firing import Firing
from dagnats.runtime.triggers.http import HttpTriggers
from dagnats.runtime.triggers.subjects import SubjectTriggers
from dagnats.wire.kv import Entry
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.triggers")

POLL_S = 1.0
"""Seconds between looks at the bucket; a change that is heard of is looked at at once."""

RETRY_S = 5.0
"""Seconds until a trigger that could not be activated is tried again."""


class Kind(Protocol):
    """What activates one kind of trigger."""

    async def start(self) -> None:
        """Begin."""
        ...

    async def stop(self) -> None:
        """End in good order."""
        ...

    async def add(self, trigger: TriggerDef, written: int, *, live: bool) -> None:
        """Activate a trigger, or take its new definition.

        Args:
            trigger: enabled and valid.
            written: when it was stored, ns since 1970.
            live: it changed while we were looking; otherwise it was there when we started.
        """
        ...

    async def remove(self, trigger: TriggerDef) -> None:
        """Deactivate a trigger; one that is not active is no error."""
        ...


class TriggerService:
    """Runs the triggers of a deployment; any number of servers may do so at once.

    Args:
        stores: the connection, provisioned.

    Attributes:
        http: answers the requests of webhooks and HTTP triggers.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._firing = Firing(stores)
        self._debouncer = Debouncer(stores, self._firing)
        self._subjects = SubjectTriggers(stores, self._firing, self._debouncer)
        self.http = HttpTriggers(stores, self._firing, self._debouncer)
        self._kinds: dict[str, Kind] = {
            "cron": CronTriggers(stores, self._firing),
            "subject": self._subjects,
            "webhook": self.http,
            "http": self.http,
            "external": ExternalTriggers(stores),
        }
        self._known: dict[str, Entry[TriggerDef]] = {}
        self._failed: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._seen = (-1, -1)
        self._woken = asyncio.Event()
        self._ear = stores.listen("$KV.triggers.>", self._heard)
        self._keeper = Keeper("trigger watch", self._follow, log)

    async def start(self) -> None:
        """Activate what is there, then follow changes."""
        await self._ear.start()
        for kind in set(self._kinds.values()):
            await kind.start()
        await self._look(live=False)
        await self._subjects.sweep(self._known.keys())
        await self._debouncer.start()
        self._keeper.start()

    async def stop(self) -> None:
        """Let go of everything. Consumers and state stay for the next start."""
        await self._keeper.stop()
        await self._ear.stop()
        await self._debouncer.stop()
        for kind in set(self._kinds.values()):
            await kind.stop()

    def _heard(self, subject: str, data: bytes) -> None:
        # Only a hint: what passes by may still be refused by the stream.
        del subject, data
        self._woken.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._woken.wait()
            self._woken.clear()
            await self._look(live=True)

    async def _look(self, *, live: bool) -> None:
        """Bring what runs in step with the bucket."""
        state = await self._stores.triggers.state()
        due = [key for key, when in self._failed.items() if when <= time.monotonic()]
        if state == self._seen and not due:
            return
        found = {entry.key: entry async for entry in self._stores.triggers.scan()}
        for key in self._known.keys() - found.keys():
            await self._gone(key)
        for key, entry in found.items():
            known = self._known.get(key)
            if known is None or known.revision != entry.revision or key in due:
                await self._change(entry, live=live and key not in due)
        self._seen = state

    async def _gone(self, key: str) -> None:
        await self._deactivate(self._known[key].value)
        del self._known[key]
        self._failed.pop(key, None)
        self._told.pop(key, None)

    async def _deactivate(self, trigger: TriggerDef) -> None:
        kind = self._kinds.get(trigger_kind(trigger))
        if kind is not None:
            await kind.remove(trigger)

    async def _change(self, entry: Entry[TriggerDef], *, live: bool) -> None:
        before, trigger = self._known.get(entry.key), entry.value
        if before is not None and trigger_kind(before.value) != trigger_kind(trigger):
            await self._deactivate(before.value)
        same = before is not None and encode(before.value) == encode(trigger)
        if not same or entry.key in self._failed:
            self._failed.pop(entry.key, None)
            await self._apply(entry, live=live)
        # Only now: a change that failed on the way is tried again.
        self._known[entry.key] = entry

    async def _apply(self, entry: Entry[TriggerDef], *, live: bool) -> None:
        trigger, problem = entry.value, _problem(entry)
        if not trigger.enabled or problem:
            await self._deactivate(trigger)
        else:
            problem = await self._activate(entry, live=live)
        if problem and self._told.get(entry.key) != problem:
            about = {"trigger_id": entry.key, "error": problem}
            log.error("trigger is not active", extra={"about": about})
        self._told[entry.key] = problem

    async def _activate(self, entry: Entry[TriggerDef], *, live: bool) -> str:
        """Activate a trigger; why that failed, or nothing."""
        try:
            await self._kinds[trigger_kind(entry.value)].add(
                entry.value, entry.timestamp_ns, live=live
            )
        except DagnatsError as error:
            self._failed[entry.key] = time.monotonic() + RETRY_S
            return error.message
        about = {"trigger_id": entry.key, "workflow": entry.value.workflow_id}
        log.info("trigger is active", extra={"about": about})
        return ""


def _problem(entry: Entry[TriggerDef]) -> str:
    """Why a trigger that somebody stored cannot be activated."""
    if entry.value.id != entry.key:
        return f'its id is "{entry.value.id[:64]}", its key "{entry.key}"'
    problems = validate_trigger(entry.value)
    return problems[0].text if problems else ""
