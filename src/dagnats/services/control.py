"""Holding work back: the whole engine, or one workflow. Runs are still accepted; nothing begins."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import NotFoundError
from dagnats.model.codec import encode
from dagnats.model.times import format_time
from dagnats.services import audit
from dagnats.services.session import Session
from dagnats.services.tolerant import entry_of, keys_of, value_of

PAUSE = "pause"
"""Key of ``engine_control`` that holds everything; ``pause.{workflow}`` holds one workflow."""


class PauseState(Struct, frozen=True):
    """What is held back.

    Args:
        paused: the whole engine is.
        workflows: these are, by name.
    """

    paused: bool
    workflows: list[str]


async def pause(session: Session, workflow: str = "") -> PauseState:
    """Hold dispatch back, of everything or of one workflow. Pausing twice is no error.

    Raises:
        NotFoundError: there is no such workflow.
    """
    if workflow and await value_of(session.stores.definitions, workflow) is None:
        raise NotFoundError(
            f'workflow "{workflow[:64]}" not found', "list them with 'dagnats workflow list'"
        )
    note = encode({"paused_at": format_time(session.now()), "actor": session.actor})
    await session.stores.engine_control.put(_key(workflow), note)
    await audit.record(session, "engine.pause", workflow or "*")
    return await paused(session)


async def resume(session: Session, workflow: str = "") -> PauseState:
    """Let it go on. Resuming what is not paused is no error."""
    if await entry_of(session.stores.engine_control, _key(workflow)) is not None:
        await session.stores.engine_control.delete(_key(workflow))
        await audit.record(session, "engine.resume", workflow or "*")
    return await paused(session)


async def paused(session: Session) -> PauseState:
    """What is held back now."""
    keys = await keys_of(session.stores.engine_control)
    prefix = f"{PAUSE}."
    named = sorted(key.removeprefix(prefix) for key in keys if key.startswith(prefix))
    return PauseState(PAUSE in keys, named)


def _key(workflow: str) -> str:
    return f"{PAUSE}.{workflow}" if workflow else PAUSE
