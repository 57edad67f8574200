"""All triggers at a glance: when each fires next, and how its last fires went."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from dagnats.model.trigger import TriggerDef, trigger_kind
from dagnats.services.cron_times import config_text, next_fire
from dagnats.services.session import Session
from dagnats.services.trigger_fires import FireRow, trigger_history
from dagnats.services.triggers import list_triggers

LAST = 20
"""Fires that are looked at for each trigger."""

AT_ONCE = 8
"""Histories that are read at a time."""


class TriggerLine(Struct, frozen=True, kw_only=True):
    """One trigger.

    Args:
        trigger: its secrets masked.
        kind: cron, subject, webhook, http or external.
        what: what it reacts to.
        next: when it fires next, RFC 3339; empty unless it is an enabled cron trigger.
        fires: the last ones, newest first.
    """

    trigger: TriggerDef
    kind: str
    what: str
    next: str
    fires: list[FireRow]

    @property
    def good(self) -> float | None:
        """The share of the fires whose run completed, of those that are known to have ended."""
        ended = [fire for fire in self.fires if fire.status in ("completed", "failed", "cancelled")]
        return sum(fire.status == "completed" for fire in ended) / len(ended) if ended else None

    @property
    def failing(self) -> int:
        """How many of the newest fires failed, one after the other."""
        count = 0
        for fire in self.fires:
            if fire.status != "failed":
                break
            count += 1
        return count


async def trigger_overview(session: Session) -> list[TriggerLine]:
    """Every trigger with its last fires, by workflow and id."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def of(trigger: TriggerDef) -> TriggerLine:
        async with gate:
            fires = await trigger_history(session, trigger.id, LAST)
        return TriggerLine(
            trigger=trigger,
            kind=trigger_kind(trigger),
            what=config_text(trigger),
            next=next_fire(trigger, session.now()),
            fires=fires,
        )

    return list(await asyncio.gather(*map(of, await list_triggers(session))))
