"""Who may call what: bearer tokens, and what keeps web pages away from a server on loopback."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.datastructures import Headers

from dagnats.server.config import is_loopback
from dagnats.server.http.problems import HttpError

OPEN = frozenset({"/", "/docs", "/health", "/ready", "/health/cluster", "/health/telemetry"})
"""Paths anybody may read; they tell nothing about workflows and runs."""

HOOKS = "/hooks/"
TRIGGERS = (HOOKS, "/api/")
"""Below these, triggers answer; each checks its own signature."""

BRIDGE = "/v1/"

_APPROVAL = re.compile(r"/runs/[^/]+/approval/.+")


class Access(Struct, frozen=True, kw_only=True):
    """What a server was told about its callers.

    Args:
        api_token: bearer token of the API; empty: none is asked for (loopback only).
        bridge_token: bearer token of workers; empty: that of the API.
        host: the address the server listens on.
    """

    api_token: str = ""
    bridge_token: str = ""
    host: str = "127.0.0.1"

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Let a request pass.

        Raises:
            HttpError: it may not.
        """
        self._check_browser(path, headers)
        wanted = self._wanted_token(method, path)
        if wanted and not holds(headers.get("authorization", ""), wanted):
            raise HttpError(
                401,
                "unauthorized",
                "send 'Authorization: Bearer <token>'",
                {"WWW-Authenticate": "Bearer"},
            )

    def _wanted_token(self, method: str, path: str) -> str:
        if path in OPEN or path.startswith(TRIGGERS):
            return ""
        if path.startswith(BRIDGE):
            return self.bridge_token or self.api_token
        # An approval is decided by whoever holds its single-use token; the handler checks it.
        if method == "POST" and _APPROVAL.fullmatch(path):
            return ""
        return self.api_token

    def _check_browser(self, path: str, headers: Headers) -> None:
        """Refuse what a page of another site makes a browser send to us.

        Without a token the address alone protects us. A page can send requests to loopback, and
        can have its own name point there, but it cannot hide where it comes from.
        """
        if self.api_token:
            return
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if path.startswith(HOOKS) and not origin:
            return  # No page posts without an origin; webhooks may come through a tunnel.
        if not _is_local(host):
            raise HttpError(
                421, f"this server does not answer for host {host[:64]!r}", "use 127.0.0.1"
            )
        if origin and _origin_host(origin) != host:
            raise HttpError(403, f"requests from pages of {origin[:64]!r} are refused")


def holds(header: str, token: str) -> bool:
    """Whether an ``Authorization`` header carries a token. Takes the same time for every answer."""
    scheme, _, given = header.partition(" ")
    pair = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, token)]
    return hmac.compare_digest(*pair) and scheme.lower() == "bearer"


def _is_local(host: str) -> bool:
    """Whether a ``Host`` header names this machine. HTTP/1.0 clients send none."""
    if not host:
        return True
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _origin_host(origin: str) -> str:
    """Host and port of an ``Origin``; empty for ``null`` and nonsense."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
