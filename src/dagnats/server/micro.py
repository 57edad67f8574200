"""The NATS request/reply API (``wire.md`` 12.1): the same services as the HTTP API has."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from dagnats.errors import DagnatsError, InvalidError, NotFoundError
from dagnats.model.codec import ABSENT, encode, is_absent
from dagnats.model.files import read_workflow
from dagnats.server import runtime_api
from dagnats.server.rooms import Context
from dagnats.services import run_events, run_query, runs, workflow_files
from dagnats.services.run_documents import RunDocument, run_document
from dagnats.services.session import Session
from dagnats.wire.micro import Endpoint, MicroService, service_version

log = logging.getLogger("dagnats.micro")

NAME = "dagnats-api"
DESCRIPTION = "DagNats control plane (workflows + runs)"

MAX_RUN_ID = 512

Handler = Callable[[Session, bytes], Awaitable[Any]]


class StartRequest(Struct):
    """A run to start. Keys that are not named here, such as ``run_at``, are ignored."""

    workflow: str = ""
    input: Raw = ABSENT


class MicroRoom:
    """Answers on ``api.>`` from start to stop.

    Args:
        context: of the server.
    """

    name = "nats api"
    url = ""

    def __init__(self, context: Context) -> None:
        bus = context.session.bus
        self._settings = context.settings
        self._session = Session(bus, context.session.stores, actor="nats-api")
        self._service = MicroService(bus, NAME, service_version(), DESCRIPTION)

    async def start(self) -> None:
        """Begin to answer."""
        endpoints = (
            ("register", "api.workflows.register", _register),
            ("start", "api.runs.start", _start),
            ("get", "api.runs.get", _get),
        )
        own = [Endpoint(name, subject, self._answer(handle)) for name, subject, handle in endpoints]
        await self._service.start([*own, *runtime_api.endpoints(self._session, self._settings)])

    async def stop(self) -> None:
        """Answer what was asked, then leave."""
        await self._service.stop()

    def _answer(self, handle: Handler) -> Callable[[bytes], Awaitable[bytes]]:
        async def answer(data: bytes) -> bytes:
            try:
                return encode(await handle(self._session, data))
            except DagnatsError as error:
                return encode({"error": error.message})
            except Exception:
                # One request must not end the service for all others.
                log.exception("a request to the nats api failed")
                return encode({"error": "internal error"})

        return answer


async def _register(session: Session, data: bytes) -> dict[str, str]:
    file = read_workflow(data)
    done = await workflow_files.register(session, file)
    return {"name": done.name, "status": "registered"}


async def _start(session: Session, data: bytes) -> dict[str, str]:
    try:
        request = msgspec.json.decode(data, type=StartRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"invalid request: {error}") from None
    if not request.workflow:
        raise InvalidError("workflow is required")
    given = None if is_absent(request.input) else bytes(request.input)
    done = await runs.start_run(session, request.workflow, given)
    return {"run_id": done.run_id}


async def _get(session: Session, data: bytes) -> RunDocument:
    run_id = data[:MAX_RUN_ID].decode("utf-8", "replace").strip()
    try:
        run = await run_query.appearing_run(session, run_id)
    except NotFoundError:
        raise NotFoundError("workflow run not found") from None
    return RunDocument.of(run_document(run), await run_events.trace_id(session, run))
