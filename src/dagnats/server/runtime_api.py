"""The control plane on NATS (``wire.md`` 12.1): what steps at work ask of the system.

Refusals are answers with ``error`` and ``kind``. The endpoints belong to the service of
:mod:`dagnats.server.micro`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.codec import ABSENT, decode, encode, is_absent
from dagnats.model.workflow import WorkflowDef
from dagnats.server.settings import Settings
from dagnats.services import runtimes
from dagnats.services.runtime_proof import ControlPlaneError, Proof
from dagnats.services.runtime_quota import RuntimeLimits
from dagnats.services.session import Session
from dagnats.wire.micro import Endpoint

T = TypeVar("T")
log = logging.getLogger("dagnats.micro")


class RegisterRequest(Struct, rename={"definition": "def"}):
    """``api.runtimes.register``."""

    definition: Raw = ABSENT
    owner_run_id: str = ""
    promote: bool = False
    owner_step_id: str = ""
    nonce: str = ""


class SpawnRequest(Struct):
    """``api.runs.spawn``. The keys after ``nonce`` are ours."""

    child_workflow: str = ""
    parent_run_id: str = ""
    parent_step_id: str = ""
    input: Raw = ABSENT
    nonce: str = ""
    key: str = ""
    detach: bool = False


class BudgetRequest(Struct):
    """``api.runtimes.budget``."""

    owner_run_id: str = ""
    owner_step_id: str = ""
    nonce: str = ""


Handler = Callable[[Session, RuntimeLimits, bytes], Awaitable[Any]]


def endpoints(session: Session, settings: Settings) -> list[Endpoint]:
    """The endpoints, ready to be asked.

    Args:
        session: the server's connection.
        settings: with the limits of a tree of runs.
    """
    limits = RuntimeLimits(
        max_active_runs=settings.max_active_runs_per_root,
        max_defs=settings.max_defs_per_root,
        max_depth=settings.max_generation_depth,
        max_registers_per_minute=settings.max_registers_per_minute_per_root,
    )
    kinds: tuple[tuple[str, str, Handler, str], ...] = (
        ("runtimes-register", "api.runtimes.register", _register, "invalid_def"),
        ("runs-spawn", "api.runs.spawn", _spawn, "unresolvable_name"),
        ("runtimes-budget", "api.runtimes.budget", _budget, "transport"),
    )
    return [
        Endpoint(name, subject, _answer(session, limits, handle, fallback))
        for name, subject, handle, fallback in kinds
    ]


def _answer(
    session: Session, limits: RuntimeLimits, handle: Handler, fallback: str
) -> Callable[[bytes], Awaitable[bytes]]:
    async def answer(data: bytes) -> bytes:
        try:
            return encode(await handle(session, limits, data))
        except ControlPlaneError as error:
            return encode({"error": error.message, "kind": error.kind})
        except InvalidError as error:
            return encode({"error": error.message, "kind": fallback})
        except DagnatsError as error:
            return encode({"error": error.message, "kind": "transport"})
        except Exception:
            # One request must not end the service for all others.
            log.exception("a request to the control plane failed")
            return encode({"error": "internal error", "kind": "transport"})

    return answer


async def _register(session: Session, limits: RuntimeLimits, data: bytes) -> dict[str, str]:
    request = _read(data, RegisterRequest)
    proof = Proof(request.owner_run_id, request.owner_step_id, request.nonce)
    definition = decode(bytes(request.definition) or b"null", WorkflowDef)
    name = await runtimes.register_runtime(
        session, proof, definition, limits, promote=request.promote
    )
    return {"scoped_name": name}


async def _spawn(session: Session, limits: RuntimeLimits, data: bytes) -> dict[str, str]:
    request = _read(data, SpawnRequest)
    proof = Proof(request.parent_run_id, request.parent_step_id, request.nonce)
    given = None if is_absent(request.input) else bytes(request.input)
    run_id = await runtimes.spawn_run(
        *(session, proof, request.child_workflow, given, limits),
        key=request.key,
        detach=request.detach,
    )
    return {"run_id": run_id}


async def _budget(session: Session, limits: RuntimeLimits, data: bytes) -> runtimes.Budget:
    request = _read(data, BudgetRequest)
    proof = Proof(request.owner_run_id, request.owner_step_id, request.nonce)
    return await runtimes.get_budget(session, proof, limits)


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"invalid request: {error}") from None
