"""The real nats-server as a supervised child process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import time
from collections import deque
from pathlib import Path

from dagnats.errors import DagnatsError
from dagnats.server.binary import find_binary
from dagnats.server.guard import PipeGuard, kernel_guard
from dagnats.server.natsconf import LOOPBACK, MAX_PAYLOAD, NatsSettings, render

__all__ = ["MAX_PAYLOAD", "EmbeddedServer", "NatsSettings", "find_binary", "free_port"]

log = logging.getLogger("dagnats.nats")

START_TIMEOUT_S = 60.0
"""How long the server may take to answer. An empty store takes 12 ms and 200k messages 0.2 s
(perf.md A); it listens only when it has read its whole store."""

STOP_TIMEOUT_S = 5.0
"""How long the server may take to end before it is killed."""

BACKOFF_S = (0.1, 5.0)
"""First and longest pause before a restart."""

STEADY_S = 10.0
"""A server that lived this long is no longer in a crash loop: the next pause is the first."""

_LEVELS = {"DBG": 10, "TRC": 10, "INF": 20, "WRN": 30, "ERR": 40, "FTL": 50}
_LINE = re.compile(r"\[\d+\] \S+ \S+ \[([A-Z]{3})\] (.*)")
_LINE_LIMIT = 2000


def free_port(host: str = LOOPBACK) -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class EmbeddedServer:
    """One nats-server child: started, watched, restarted when it crashes, stopped.

    It ends with this process, also when this process is killed. Its log lines go to the logger
    ``dagnats.nats``.

    Args:
        settings: how to run it.
    """

    def __init__(self, settings: NatsSettings) -> None:
        self.settings = settings
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._guard: PipeGuard | None = None
        self._last_lines: deque[str] = deque(maxlen=5)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.settings.url

    @property
    def pid(self) -> int:
        """The process id of the child; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the child lives at the moment."""
        return self._process is not None and self._process.returncode is None

    @property
    def conf(self) -> Path:
        """The configuration file it runs with, written anew at each start."""
        return self.settings.data_dir / "nats-server.conf"

    async def start(self) -> None:
        """Start the child and wait until it answers.

        Raises:
            DagnatsError: it did not come up.
        """
        self._write_conf()
        await self._spawn()
        self._supervisor = asyncio.create_task(self._supervise(), name="nats-server")

    def _write_conf(self) -> None:
        """For our eyes only: it may hold the cluster's token."""
        self.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.conf.touch(mode=0o600)
        self.conf.chmod(0o600)
        self.conf.write_text(render(self.settings), encoding="utf-8")

    async def _spawn(self) -> None:
        guard = kernel_guard()
        self._last_lines.clear()
        process = self._process = await asyncio.create_subprocess_exec(
            *(str(find_binary()), "-c", str(self.conf)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=guard,
            start_new_session=os.name == "posix",  # Ctrl+C is for us; we stop the child in order
        )
        assert process.stderr is not None
        self._reader = asyncio.create_task(self._forward(process.stderr), name="nats-server-log")
        if guard is None:
            self._guard = PipeGuard(process.pid)
            await self._guard.start()
        try:
            await asyncio.wait_for(self._answering(process), START_TIMEOUT_S)
        except TimeoutError:
            await self._end()
            raise DagnatsError(
                f"nats-server did not answer on {self.url} within {START_TIMEOUT_S:.0f}s",
                self._last_words(),
            ) from None

    async def _answering(self, process: asyncio.subprocess.Process) -> None:
        """Until a connection is greeted as NATS greets, by this server and no other."""
        settings = self.settings
        while await _greeted_by(settings.reachable, settings.port) != settings.name:
            if process.returncode is not None:
                await self._end()
                raise DagnatsError("nats-server ended at once", self._last_words())
            await asyncio.sleep(0.005)

    def _last_words(self) -> str:
        return self._last_lines[-1] if self._last_lines else "it wrote nothing"

    async def _forward(self, stream: asyncio.StreamReader) -> None:
        """The child's log lines into ours, each cut to a bound."""
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            if not line:
                return
            self._record(line[:_LINE_LIMIT].decode("utf-8", "replace").rstrip())

    def _record(self, line: str) -> None:
        match = _LINE.match(line)
        level, text = (_LEVELS.get(match[1], 20), match[2]) if match else (20, line)
        self._last_lines.append(text)
        # What is routine to NATS is detail to us.
        log.log(logging.DEBUG if level == logging.INFO else level, "%s", text)

    async def _supervise(self) -> None:
        """Bring the child back, on the same port, when it ends without being asked to."""
        pause = BACKOFF_S[0]
        while True:
            assert self._process is not None
            began = time.monotonic()
            code = await self._process.wait()
            await self._end()
            if time.monotonic() - began > STEADY_S:
                pause = BACKOFF_S[0]
            log.error("nats-server ended with %s; starting it again in %.1fs", code, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_S[1])
            self.restarts += 1
            try:
                await self._spawn()
                log.warning("nats-server is back on %s", self.url)
            except (DagnatsError, OSError) as error:
                log.error("nats-server does not come back: %s", error)

    async def stop(self) -> None:
        """Ask the child to end, and make it end after five seconds."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        await self._end()

    async def _end(self) -> None:
        """The child is gone afterwards, with all that was for it."""
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                log.warning("nats-server did not end within %.0fs; killing it", STOP_TIMEOUT_S)
                process.kill()
                await process.wait()
        if self._guard is not None:
            await self._guard.stop()
            self._guard = None
        if self._reader is not None:
            await self._reader
            self._reader = None


async def _greeted_by(host: str, port: int) -> str:
    """The name in the INFO line of the server that listens there; empty if none does."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return ""
    try:
        verb, _, info = (await reader.readline()).partition(b" ")
        return str(json.loads(info)["server_name"]) if verb == b"INFO" else ""
    except (OSError, ValueError, KeyError, TypeError):  # something else than NATS answers there
        return ""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
