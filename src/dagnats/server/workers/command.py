"""A command as a step: input on standard input, output on standard output (``engine.md`` CONF-6).

There is no shell between: the command is split into words, and nothing of a task is put into them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping

from msgspec import Raw

from dagnats.model.codec import ABSENT
from dagnats.server.guard import kernel_guard
from dagnats.services.documents import output_value
from dagnats.worker import NonRetryableError
from dagnats.worker.context import TaskContext

MAX_OUTPUT = 10 * 1024 * 1024
"""Largest standard output, in bytes."""

MAX_ERROR = 2_000
"""How much of the end of standard error becomes part of the step's error, in bytes."""

KILL_AFTER_S = 2.0
"""How long a command has to end once it was told to, in seconds."""

LOOK_S = 0.1
"""How often a command that has closed its output is looked at, in seconds."""

READ = 64 * 1024


class CommandFailedError(Exception):
    """The command ended with another code than 0."""


class Command:
    """Runs a command per task.

    Args:
        line: the command, as a shell would split it.
        environment: what the command inherits; our own settings are left out.
    """

    def __init__(self, line: str, environment: Mapping[str, str] = os.environ) -> None:
        self._words = shlex.split(line)
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith("DAGNATS_")
        }

    async def __call__(self, ctx: TaskContext, input: Raw = ABSENT) -> object:  # noqa: A002
        """Run it.

        Raises:
            CommandFailedError: it ended with another code than 0.
            NonRetryableError: there is no such command, or it wrote too much.
        """
        process = await self._start(ctx)
        try:
            output, error = await _talk(process, bytes(input))
            code = await process.wait()
        except BaseException:
            # Timed out, cancelled, or wrote too much: it and all its children must go.
            await asyncio.shield(_end(process))
            raise
        _signal(process, signal.SIGKILL)  # Children that it left behind.
        if code:
            raise CommandFailedError(_failure(code, error))
        return output_value(output.strip())

    async def _start(self, ctx: TaskContext) -> asyncio.subprocess.Process:
        about = {
            "DAGNATS_RUN_ID": ctx.run_id,
            "DAGNATS_STEP_ID": ctx.step_id,
            "DAGNATS_RETRY_COUNT": str(ctx.attempt - 1),
            "DAGNATS_IDEMPOTENCY_KEY": ctx.idempotency_key,
        }
        try:
            return await asyncio.create_subprocess_exec(
                *self._words,
                env=self._environment | about,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=kernel_guard(),
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise NonRetryableError(f"cannot run {self._words[0]!r}: {reason}") from None


async def _talk(process: asyncio.subprocess.Process, data: bytes) -> tuple[bytes, bytes]:
    """Write and read at the same time, until the command has ended or closed what it writes to."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    feeding = asyncio.create_task(_feed(process.stdin, data))
    tail = asyncio.create_task(_tail(process.stderr))
    body = asyncio.create_task(_read(process.stdout))
    ended = asyncio.create_task(_exit(process))
    try:
        done, _ = await asyncio.wait({body, ended}, return_when=asyncio.FIRST_COMPLETED)
        if body in done:
            body.result()  # Too much of it ends the command.
        await ended
        _signal(process, signal.SIGKILL)  # A child left behind would keep the pipes open.
        return await body, await tail
    finally:
        tasks = (feeding, tail, body, ended)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _exit(process: asyncio.subprocess.Process) -> None:
    """Wait for the command itself: ``wait()`` waits for whoever holds its pipes as well."""
    pause = 0.001
    while process.returncode is None:
        await asyncio.sleep(pause)
        pause = min(2 * pause, LOOK_S)


async def _feed(stdin: asyncio.StreamWriter, data: bytes) -> None:
    # A command need not read its input.
    with contextlib.suppress(ConnectionError):
        stdin.write(data)
        await stdin.drain()
    stdin.close()


async def _read(stdout: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await stdout.read(READ):
        size += len(part)
        if size > MAX_OUTPUT:
            raise NonRetryableError(f"the command wrote more than {MAX_OUTPUT} bytes")
        parts.append(part)
    return b"".join(parts)


async def _tail(stderr: asyncio.StreamReader) -> bytes:
    tail = b""
    while part := await stderr.read(READ):
        tail = (tail + part)[-MAX_ERROR:]
    return tail


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process group to end, then make it; nothing of it is left to the loop."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_AFTER_S):
            await _exit(process)
    _signal(process, signal.SIGKILL)
    await _exit(process)
    with contextlib.suppress(TimeoutError):  # Who has left the group may hold the pipes for ever.
        async with asyncio.timeout(KILL_AFTER_S):
            await asyncio.gather(_drain(process.stdout), _drain(process.stderr), process.wait())


async def _drain(pipe: asyncio.StreamReader | None) -> None:
    """Read what nobody wants: a pipe that is full is never closed."""
    while pipe is not None and await pipe.read(READ):
        continue


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _failure(code: int, error: bytes) -> str:
    how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
    text = error.decode("utf-8", "replace").strip()
    return f"{how}: {text}" if text else how
