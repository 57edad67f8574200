"""The trigger service as a room of the server."""

from __future__ import annotations

from dagnats.runtime.triggers.service import TriggerService
from dagnats.server.rooms import Context


class TriggerRoom:
    """Runs triggers from start to stop, and hands what answers HTTP requests to the context.

    Args:
        context: of the server.
    """

    name = "trigger service"
    url = ""

    def __init__(self, context: Context) -> None:
        self._service = TriggerService(context.session.stores)
        context.triggers = self._service.http

    async def start(self) -> None:
        """Activate the triggers there are; later changes take effect as they are made."""
        await self._service.start()

    async def stop(self) -> None:
        """Let go of them."""
        await self._service.stop()
