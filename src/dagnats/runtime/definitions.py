"""The registered definitions, kept in memory and current."""

from __future__ import annotations

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.workflow import WorkflowDef
from dagnats.wire.stores import Stores

_PREFIX = "$KV.workflow_defs."


class Definitions:
    """What is in ``workflow_defs`` now.

    Args:
        stores: the connection.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[str, WorkflowDef] = {}
        self._listening = stores.listen(f"{_PREFIX}>", self._changed)

    def get(self, name: str) -> WorkflowDef | None:
        """The definition of that name, if one is registered."""
        return self._known.get(name)

    async def start(self) -> None:
        """Follow changes, then read what is there."""
        await self._listening.start()
        async for entry in self._stores.definitions.scan():
            self._known[entry.key] = entry.value

    async def stop(self) -> None:
        """Stop following."""
        await self._listening.stop()

    def _changed(self, subject: str, data: bytes) -> None:
        name = subject[len(_PREFIX) :]
        try:
            self._known[name] = decode(data, WorkflowDef)
        except InvalidError:
            self._known.pop(name, None)  # Deleted, or unusable: then it is not there.
