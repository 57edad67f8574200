"""The operations of the API as data: routing and the OpenAPI document are made from one list.

A handler is a plain async function. Its arguments say what a request carries: ``call`` first, then
the parameters of the path by name, ``query`` (a struct whose fields are the query parameters) and
``body`` (a struct, or ``bytes`` for a body that is passed on). What it returns is the answer.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, TypeVar, get_type_hints
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct
from starlette.requests import Request

from dagnats.errors import InvalidError
from dagnats.server.http.problems import HttpError
from dagnats.server.http.reading import decode_body, read_body
from dagnats.services.session import Session

MAX_BODY = 8 * 1024 * 1024
"""Largest body in bytes: what the embedded server takes as one message."""

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

_MARKED: WeakKeyDictionary[Callable[..., Any], Operation] = WeakKeyDictionary()

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the query parameters of an operation."""


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of JSON bodies. A key nobody knows is an error that names it."""


class Call:
    """One request on its way through a handler.

    Args:
        request: the request.
        session: the connection that services work on.
        closing: set when the server stops: what lasts by design ends then.
    """

    def __init__(self, request: Request, session: Session, closing: asyncio.Event) -> None:
        self.request = request
        self.session = session
        self.closing = closing
        self.headers: dict[str, str] = {}
        """Further headers of the answer."""
        self.status = 0
        """Status of the answer, where it is not the operation's."""

    def next_page(self, cursor: str) -> None:
        """Tell where the list goes on: a ``Link`` header with ``rel="next"`` (RFC 8288)."""
        url = self.request.url.include_query_params(cursor=cursor)
        target = url.path + (f"?{url.query}" if url.query else "")
        self.headers["Link"] = f'<{target}>; rel="next"'


class Operation(Struct, frozen=True, kw_only=True):
    """One operation.

    Args:
        method: HTTP method.
        path: route; ``{name:path}`` may contain slashes.
        handler: see the module.
        tag: group in the documentation.
        status: of a success.
        access: ``token``, ``open``, ``approval`` (its own single-use token), ``bridge``.
        limit: largest body in bytes.
        media: of the answer, where it is not JSON.
        schema: of the body, where the handler takes it as ``bytes``.
        hints: the types of the handler's arguments and answer.
        missing: status when something that the body names does not exist.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    tag: str
    status: int = 200
    access: str = "token"
    limit: int = MAX_BODY
    media: str = "application/json"
    schema: Any = None
    hints: dict[str, Any] = {}
    missing: int = 404

    @property
    def name(self) -> str:
        """The id of the operation."""
        return self.handler.__name__

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the path and their types."""
        return {name: self.hints[name] for name in _PARAMETER.findall(self.path)}

    @property
    def query(self) -> type[Query] | None:
        """The struct of the query parameters."""
        return self.hints.get("query")

    @property
    def body(self) -> Any:
        """The type of the body; ``None``: there is none."""
        return self.hints.get("body")

    @property
    def body_required(self) -> bool:
        """Whether a request without a body is refused."""
        given = inspect.signature(self.handler).parameters.get("body")
        return given is not None and given.default is inspect.Parameter.empty

    @property
    def answer(self) -> Any:
        """The type of the answer."""
        return self.hints.get("return")

    async def run(self, call: Call) -> Any:
        """Read what the handler wants and call it.

        Raises:
            DagnatsError: the request is wrong, or the operation failed.
        """
        given: dict[str, Any] = {
            name: _path_value(name, call.request.path_params[name], kind)
            for name, kind in self.parameters.items()
        }
        if self.query is not None:
            given["query"] = _query_value(call.request, self.query)
        if self.body is not None:
            await self._read_body(call, given)
        return await self.handler(call, **given)

    async def _read_body(self, call: Call, given: dict[str, Any]) -> None:
        data = await read_body(call.request, self.limit)
        if data or self.body_required:
            given["body"] = data if self.body in (bytes, bytes | None) else self._decoded(data)

    def _decoded(self, data: bytes) -> Any:
        if not data:
            raise InvalidError("the request has no body", "send a JSON object")
        return decode_body(data, self.body)


def operation(method: str, path: str, *, tag: str, **more: Any) -> Callable[[F], F]:
    """Mark a function as the handler of an operation; see :class:`Operation` for the rest."""

    def mark(handler: F) -> F:
        hints = get_type_hints(handler, include_extras=True)
        made = Operation(method=method, path=path, handler=handler, tag=tag, hints=hints, **more)
        _MARKED[handler] = made
        return handler

    return mark


def operations_in(*modules: ModuleType) -> list[Operation]:
    """The operations of modules, in the order of their definition."""
    return [
        operation_of(item)
        for module in modules
        for item in vars(module).values()
        if inspect.isfunction(item) and item in _MARKED
    ]


def operation_of(handler: Callable[..., Any]) -> Operation:
    """The operation that a handler was marked with."""
    return _MARKED[handler]


def _path_value(name: str, text: str, kind: Any) -> Any:
    if kind is not int:
        return text
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HttpError(404, f"{name} {text[:64]!r} is not a positive whole number")
    return int(text)


def _query_value(request: Request, kind: type[Query]) -> Query:
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        twice = next(name for name, _ in pairs if sum(key == name for key, _ in pairs) > 1)
        raise InvalidError(f"query parameter {twice[:64]!r} stands there twice")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidError(f"query: {error}", "see /docs for the parameters") from None
