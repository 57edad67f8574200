"""What workers announced besides themselves: trigger types and services."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import NotFoundError
from dagnats.model.records import ServiceRecord
from dagnats.model.trigger import TriggerTypeDef
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, value_of
from dagnats.services.workers import list_workers


class TriggerTypeRow(Struct, frozen=True):
    """A trigger type, and whether the worker that owns it is ``live`` or ``stale``."""

    type: TriggerTypeDef
    owner_status: str


async def list_trigger_types(session: Session) -> list[TriggerTypeRow]:
    """The trigger kinds that workers contributed, by name."""
    live = {worker.worker_id for worker in await list_workers(session)}
    rows = [
        TriggerTypeRow(entry.value, _status(entry.value, live))
        async for entry in entries_of(session.stores.trigger_types)
    ]
    return sorted(rows, key=lambda row: row.type.name)


async def get_trigger_type(session: Session, name: str) -> TriggerTypeRow:
    """One trigger kind by name.

    Raises:
        NotFoundError: no worker registered it.
    """
    found = await value_of(session.stores.trigger_types, name)
    if found is None:
        raise NotFoundError(f'trigger type "{name[:64]}" not found')
    live = {worker.worker_id for worker in await list_workers(session)}
    return TriggerTypeRow(found, _status(found, live))


def _status(kind: TriggerTypeDef, live: set[str]) -> str:
    return "live" if kind.owner_worker_id in live else "stale"


async def list_services(session: Session) -> list[ServiceRecord]:
    """The services that workers announced, by name."""
    found = [entry.value async for entry in entries_of(session.stores.services)]
    return sorted(found, key=lambda service: service.name)
