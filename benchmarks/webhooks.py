"""Webhooks under load: 1000 a second for 10 s, signed, on loopback, against a real ``serve``.

Every accepted one must have started its run, and nothing else may have; the rest must have been
told when to come back. ``python -m benchmarks.webhooks --rate 1000 --seconds 10``
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import meter
from dagnats.server.embedded import free_port

SECRET = b"0123456789abcdef"
CONNECTIONS = 600
"""Clients that wait at once; more than the server works on at once."""

SETTLE_S = 120.0
"""How long the engine may take to begin what was accepted, in seconds."""

WORKFLOW = {
    "name": "hooked",
    "version": "1",
    "steps": [{"id": "a", "type": "normal", "task": "nobody.does.this"}],
    "triggers": [
        {
            "id": "hook",
            "enabled": True,
            "webhook": {"path": "/hooks/load", "secret": SECRET.decode()},
        }
    ],
}


class Tally:
    """What came of the requests."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.accepted: list[str] = []
        self.seconds: list[float] = []


class Sender:
    """One keep-alive connection."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, number: int) -> None:
        body = json.dumps({"number": number}).encode()
        sign = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        began = time.perf_counter()
        try:
            head = await self._exchange(body, sign)
        except (OSError, asyncio.IncompleteReadError) as error:
            self._tally.codes[f"no answer: {type(error).__name__}"] += 1
            self._streams = None
            return
        self._tally.seconds.append(time.perf_counter() - began)
        code = head.split(" ", 2)[1]
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        if code.startswith("2"):
            self._tally.accepted.append(lines["x-dagnats-run-id"])
        elif "retry-after" in lines:
            code += " with Retry-After"
        self._tally.codes[code] += 1

    async def _exchange(self, body: bytes, sign: str) -> str:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(
            f"POST /hooks/load HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            f"X-Signature-256: sha256={sign}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            (line for line in head.lower().split("\r\n") if line.startswith("content-length")), ":0"
        )
        await reader.readexactly(int(length.split(":")[1]))
        if "connection: close" in head.lower():
            writer.close()
            self._streams = None
        return head


async def load(port: int, rate: int, seconds: float) -> Tally:
    """Offer requests at a steady rate, whatever becomes of them."""
    tally = Tally()
    free: asyncio.Queue[Sender] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(Sender(port, tally))
    running: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        sender = await free.get()
        await sender.send(number)
        free.put_nowait(sender)

    began, total = time.perf_counter(), int(rate * seconds)
    for number in range(total):
        late = began + number / rate - time.perf_counter()
        if late > 0:
            await asyncio.sleep(late)
        task = asyncio.create_task(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    return tally


def call(port: int, path: str, body: Any = None) -> tuple[Any, str]:
    """A request to the API: its JSON, and where the list goes on."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as answer:
        return json.load(answer), answer.headers.get("Link") or ""


def started(port: int) -> list[str]:
    """The ids of all runs, page by page."""
    found: list[str] = []
    path = "/runs?workflow=hooked&limit=2000"
    while path:
        page, link = call(port, path)
        found += [run["run_id"] for run in page]
        path = link.partition(">")[0].lstrip("<")
    return found


def wait_for(port: int, count: int) -> list[str]:
    """The runs there are once no more come."""
    deadline = time.monotonic() + SETTLE_S
    while len(started(port)) < count and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(1)
    return started(port)


def measure(rate: int, seconds: float, sync: str) -> dict[str, Any]:
    """Serve, load, count."""
    with tempfile.TemporaryDirectory() as place:
        port = free_port()
        words = ("serve", "--json", f"--sync={sync}", f"--http-addr=127.0.0.1:{port}")
        places = (f"--nats-port={free_port()}", f"--data-dir={Path(place) / 'data'}")
        server = subprocess.Popen(
            [sys.executable, "-m", "dagnats", *words, *places],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()
            call(port, "/workflows", WORKFLOW)
            time.sleep(1)
            before = meter.cpu(server.pid)
            tally = asyncio.run(load(port, rate, seconds))
            used = meter.cpu(server.pid) - before
            began = time.monotonic()
            ids = wait_for(port, len(tally.accepted))
            settled = time.monotonic() - began
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    slow = statistics.quantiles(tally.seconds, n=100)
    return {
        "offered": int(rate * seconds),
        "answers": dict(tally.codes.most_common()),
        "accepted": len(tally.accepted),
        "started": len(ids),
        "exact": sorted(ids) == sorted(tally.accepted),
        "p50_ms": round(slow[49] * 1000, 1),
        "p99_ms": round(slow[98] * 1000, 1),
        "server_cpu_ms_each": round(used * 1000 / (rate * seconds), 2),
        "settled_s": round(settled, 1),
        "sync": sync,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sync", default="always")
    given = parser.parse_args()
    found = measure(given.rate, given.seconds, given.sync)
    print(json.dumps(found, indent=2))
    told = all(key[0] == "2" or "Retry-After" in key for key in found["answers"])
    sys.exit(0 if found["exact"] and told else 1)


if __name__ == "__main__":
    main()
