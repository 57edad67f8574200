"""The console in a browser, for this machine only: there is no login."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dagnats.errors import DagnatsError, UsageError

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Middleware

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def serve(listen: str, arguments: list[str]) -> None:
    """Offer the console at an address until interrupted.

    Args:
        listen: ``HOST:PORT``; the host must be a loopback one.
        arguments: what ``dagnats ui`` is called with for each visitor.

    Raises:
        UsageError: the address is no loopback one, or none at all.
        DagnatsError: the package that does it is not installed.
    """
    host, port = _place(listen)
    try:
        from textual_serve.server import Server
    except ImportError:
        raise DagnatsError(
            "textual-serve is not installed", "install it with: pip install 'dagnats[web]'"
        ) from None

    class Local(Server):
        """Answers this machine's own pages only: others could steer the console otherwise."""

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(_middleware())
            return app

    command = shlex.join([sys.executable, "-m", "dagnats", "ui", *arguments])
    Local(command, host=host, port=port, title="dagnats").serve()


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if host.strip("[]") not in LOOPBACK:
        hint = "put a proxy with a login in front of it for others"
        raise UsageError(f"--listen {listen}: only loopback addresses are allowed", hint)
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--listen {listen}: not HOST:PORT", "such as 127.0.0.1:8091")
    return host.strip("[]"), int(port)


def is_local(host: str, origin: str) -> bool:
    """Whether a request names this machine, and comes from a page of ours if from any."""
    if urlsplit(f"//{host}").hostname not in LOOPBACK:
        return False
    return not origin or urlsplit(origin).netloc == host


def _middleware() -> Middleware:
    from aiohttp import web

    @web.middleware
    async def local_only(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_local(request.host, request.headers.get("Origin", "")):
            raise web.HTTPForbidden(text="this console is for this machine only\n")
        return await handler(request)

    return local_only
