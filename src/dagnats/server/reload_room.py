"""Workflows, triggers and policy of the configuration file, as a room: applied, then watched."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] - it may use trio

from dagnats.errors import DagnatsError, InvalidError
from dagnats.runtime.keeper import Keeper
from dagnats.server.rooms import Context
from dagnats.server.sections import read_sections
from dagnats.services.file_sync import Synced, sync_file

log = logging.getLogger("dagnats.config")

DEBOUNCE_MS = 500
"""How long a file must be left alone before it is read (``engine.md`` CFG-1)."""

LOOK_MS = 5_000
"""How often it is looked at without being told: not every file system tells."""


class ReloadRoom:
    """Keeps the buckets in step with the file the server was started with.

    Args:
        context: of the server.
    """

    name = "config watcher"
    url = ""

    def __init__(self, context: Context) -> None:
        self._session = context.session
        self._path = context.config_path
        self._read = b""
        self._keeper = Keeper("config watcher", self._watch, log)

    async def start(self) -> None:
        """Apply the file; one that is wrong is told and leaves everything as it is."""
        if self._path is None:
            return
        await self._look(self._path)
        self._keeper.start()

    async def stop(self) -> None:
        """Watch no more."""
        await self._keeper.stop()

    async def _watch(self) -> None:
        assert self._path is not None
        # The directory: editors put a new file in place of the old one.
        changes = awatch(
            self._path.absolute().parent,
            recursive=False,
            debounce=DEBOUNCE_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
        )
        async for _ in changes:
            await self._look(self._path)

    async def _look(self, path: Path) -> None:
        """Apply the file if its content is not what was seen last."""
        digest = _digest(path)
        if digest == self._read:
            return
        try:
            found = read_sections(path)
            definitions = [file.definition for file in found.workflows]
            synced = await sync_file(
                self._session, found.source, definitions, found.triggers, found.policy
            )
        except InvalidError as error:
            self._refused(error.problems)
        except DagnatsError as error:
            self._refused((error.message,))
            if error.code in ("unreachable", "publish"):
                return  # The file is not at fault: it is tried again.
        else:
            _say(synced)
        self._read = digest

    def _refused(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            about = {"file": str(self._path), "problem": problem}
            log.error("config file refused, nothing was changed", extra={"about": about})


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"gone"  # Reading it will say why.


def _say(synced: Synced) -> None:
    if not synced:
        return
    about = {
        "workflows": ",".join(synced.workflows),
        "triggers": ",".join(synced.triggers),
        "deleted_triggers": ",".join(synced.deleted),
        "policy": "changed" if synced.policy else "",
    }
    log.info("config file applied", extra={"about": {k: v for k, v in about.items() if v}})
