"""A client of a few lines, and raw connections for what no honest client would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Answer:
    """A response: its status, its headers in lower case, its body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Requests to one server, each on a connection of its own."""

    def __init__(self, host: str, port: int, token: str = "") -> None:
        self.host, self.port, self.token = host, port, token

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 20.0,
    ) -> Answer:
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        head = {"Host": f"{self.host}:{self.port}", "Content-Length": str(len(data))}
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        head |= {"Connection": "close"} | (headers or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        async with asyncio.timeout(timeout), self.raw() as (reader, writer):
            writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + data)
            return await read_answer(reader, method)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self("POST", path, body, **more)

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    return int(head[0].split(" ")[1]), {name.lower(): value for name, value in pairs}


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    status, headers = await read_head(reader)
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        return Answer(status, headers, b"".join([part async for part in chunks(reader)]))
    return Answer(status, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
