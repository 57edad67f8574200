"""Kinds of triggers that workers contribute (``wire.md`` 9.7).

The worker that owns a kind starts the runs; the server keeps the triggers, checks their
configuration against the kind's schema, and tells the owner which of them are on.
"""

from __future__ import annotations

import logging

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, DagnatsError, InvalidError, NotFoundError
from dagnats.model.codec import Wire, decode, encode, parse_json
from dagnats.model.schema import check_schema, schema_problem
from dagnats.model.trigger import ExternalTrigger, TriggerDef, TriggerTypeDef
from dagnats.wire.micro import Endpoint, MicroService, service_version
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.triggers")

NAME = "dagnats-trigger"
DESCRIPTION = "DagNats trigger-type registration acknowledgement protocol"
ACK = "_REGISTRY.trigger_types.ack"

MAX_SCHEMA = 256 * 1024
"""Largest schema of a kind's configuration, in bytes."""


class AckRequest(Wire):
    """A worker asks whether the kind it has stored may be used."""

    name: str = ""
    owner_worker_id: str = ""


class Activation(Wire):
    """What the owner of a kind is told about a trigger."""

    trigger_id: str
    workflow_id: str
    config: Raw


class Answer(Struct):
    """What either side may answer; an empty message is a yes."""

    error: str = ""


class ExternalTriggers:
    """Keeps the owners of kinds informed.

    Args:
        stores: the connection.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._service = MicroService(stores.bus, NAME, service_version(), DESCRIPTION)

    async def start(self) -> None:
        """Answer workers that register kinds."""
        await self._service.start([Endpoint("ack", ACK, self._ack)])

    async def stop(self) -> None:
        """Answer no more."""
        await self._service.stop()

    # --- triggers -----------------------------------------------------------------------------

    async def add(self, trigger: TriggerDef, written: int, *, live: bool) -> None:
        """Tell the owner about a trigger; of several servers one does.

        Args:
            trigger: the definition.
            written: when it was stored: tells its versions apart.
            live: not needed here.

        Raises:
            NotFoundError: no worker has registered the kind.
            InvalidError: the configuration does not fit the kind.
            DagnatsError: the owner does not answer, or refuses.
        """
        del live
        external = _external(trigger)
        kind = await self._kind(external.kind)
        problem = _config_problem(kind, external)
        if problem:
            raise InvalidError(problem)
        if not await self._take_turn(trigger.id, f"{written}.{kind.registered_at}"):
            return
        try:
            await self._tell("activate", trigger)
        except DagnatsError:
            await self._stores.trigger_state.delete(_key(trigger.id))
            raise

    async def remove(self, trigger: TriggerDef) -> None:
        """Tell the owner that a trigger is gone or disabled; of several servers one does."""
        entry = await self._stores.trigger_state.get(_key(trigger.id))
        if entry is None:
            return
        try:
            await self._stores.trigger_state.delete(_key(trigger.id), entry.revision)
        except ConflictError:
            return  # Another server does.
        try:
            await self._tell("deactivate", trigger)
        except DagnatsError as error:
            about = {"trigger_id": trigger.id, "error": error.message}
            log.warning("its owner was not told that a trigger is off", extra={"about": about})

    async def _kind(self, name: str) -> TriggerTypeDef:
        entry = await self._stores.trigger_types.get(name)
        if entry is None:
            raise NotFoundError(
                f"no trigger type registered: {name}", "start the worker that contributes it"
            )
        return entry.value

    async def _take_turn(self, trigger_id: str, version: str) -> bool:
        """Whether this server is the one that tells the owner of this version."""
        bucket, key = self._stores.trigger_state, _key(trigger_id)
        entry = await bucket.get(key)
        if entry is not None and entry.value == version:
            return False
        try:
            if entry is None:
                await bucket.create(key, version)
            else:
                await bucket.update(key, version, entry.revision)
        except ConflictError:
            return False
        return True

    async def _tell(self, what: str, trigger: TriggerDef) -> None:
        external = _external(trigger)
        body = Activation(
            trigger_id=trigger.id, workflow_id=trigger.workflow_id, config=external.config
        )
        answer = await self._stores.bus.request(f"_TRIGGER.{external.kind}.{what}", encode(body))
        error = decode(answer, Answer).error if answer else ""
        if error:
            raise InvalidError(f"the owner of {external.kind} refuses: {error[:200]}")

    # --- kinds --------------------------------------------------------------------------------

    async def _ack(self, data: bytes) -> bytes:
        try:
            request = decode(data or b"{}", AckRequest)
            await self._accept(request)
        except DagnatsError as error:
            return encode({"error": error.message})
        await self._reactivate(request.name)
        return b""

    async def _accept(self, request: AckRequest) -> None:
        """Check a kind that a worker has stored; one that is refused is put back as it was."""
        if not request.name or not request.owner_worker_id:
            what = "owner_worker_id" if request.name else "name"
            raise InvalidError(f"{what} must not be empty")
        entry = await self._stores.trigger_types.get(request.name)
        if entry is None:
            raise NotFoundError(f'trigger type "{request.name[:64]}" not registered in KV')
        kind, before = entry.value, await self._accepted(request.name)
        problem = _kind_problem(kind, request)
        if not problem and before is not None:
            problem = await self._clash(kind, before)
        if problem:
            if before is not None:
                await self._stores.trigger_types.put(request.name, before)
            raise ConflictError(problem)
        text = encode(kind).decode()
        await self._stores.trigger_state.put(f"{_TYPE}.{request.name}", text)
        about = {"kind": kind.name, "worker_id": kind.owner_worker_id}
        log.info("trigger type registered", extra={"about": about})

    async def _accepted(self, name: str) -> TriggerTypeDef | None:
        entry = await self._stores.trigger_state.get(f"{_TYPE}.{name}")
        return decode(entry.value, TriggerTypeDef) if entry else None

    async def _clash(self, kind: TriggerTypeDef, before: TriggerTypeDef) -> str:
        """Why a kind may not take the place of what was accepted before."""
        same_owner = kind.owner_worker_id == before.owner_worker_id
        if not same_owner and await self._stores.workers.get(before.owner_worker_id) is not None:
            return (
                f'name "{kind.name}" already owned by "{before.owner_worker_id}" '
                f'(request from "{kind.owner_worker_id}")'
            )
        if kind.version == before.version:
            same = bytes(kind.config_schema) == bytes(before.config_schema)
            return "" if same else f'name "{kind.name}" schema mismatch on re-register'
        if users := await self._users(kind.name):
            return (
                f'name "{kind.name}" version "{before.version[:32]}" is in use by trigger '
                f'"{users[0].id}"'
            )
        return ""

    async def _users(self, kind: str) -> list[TriggerDef]:
        """The enabled triggers of a kind."""
        return [
            entry.value
            async for entry in self._stores.triggers.scan()
            if entry.value.enabled
            and entry.value.external is not None
            and entry.value.external.kind == kind
        ]

    async def _reactivate(self, kind: str) -> None:
        """Have every trigger of a kind told anew: its owner has just begun to listen."""
        for trigger in await self._users(kind):
            await self._stores.trigger_state.delete(_key(trigger.id))
            entry = await self._stores.triggers.get(trigger.id)
            if entry is None or not entry.value.enabled:
                continue
            try:
                await self.add(entry.value, entry.timestamp_ns, live=True)
            except DagnatsError as error:
                about = {"trigger_id": trigger.id, "error": error.message}
                log.warning("trigger is not active", extra={"about": about})


_TYPE = "type"


def _key(trigger_id: str) -> str:
    return f"{trigger_id}.activated"


def _external(trigger: TriggerDef) -> ExternalTrigger:
    assert trigger.external is not None
    return trigger.external


def _config_problem(kind: TriggerTypeDef, external: ExternalTrigger) -> str:
    problems = check_schema(bytes(kind.config_schema), bytes(external.config))
    return f"external.config: {problems[0]}" if problems else ""


def _kind_problem(kind: TriggerTypeDef, request: AckRequest) -> str:
    if kind.owner_worker_id != request.owner_worker_id:
        return (
            f'name "{kind.name}" owner mismatch: KV="{kind.owner_worker_id}" '
            f'request="{request.owner_worker_id}"'
        )
    schema = bytes(kind.config_schema)
    if len(schema) > MAX_SCHEMA:
        return f"config_schema has {len(schema)} bytes (max {MAX_SCHEMA})"
    if parse_json(schema or b"null") is None:
        return "config_schema must not be empty"
    return schema_problem(schema)
