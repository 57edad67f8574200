"""The console through a real pseudo-terminal: ``python -m benchmarks.console`` (``tui.md`` 4.8).

A child process runs ``dagnats ui`` on a terminal of 120x36; keys are written to it, and the time
until the frame they cause is on the terminal is taken. A second child writes snapshots meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

from benchmarks import meter
from dagnats.model.codec import encode
from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.times import SECOND, format_time
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.server.guard import kernel_guard
from dagnats.server.natsconf import NatsSettings
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.topology import provision

RESULTS = Path(__file__).parent / "console.json"
ROWS, COLUMNS = 36, 120
CURSOR = re.compile(rb"\x1b\[(\d+);1H(?:\x1b\[[\d;]*m)*\xe2\x96\x8c")
FLOWS = ("code-review", "etl-nightly", "image-pipeline", "notify-fanout", "llm-agent-loop")
STEPS = ("plan", "code", "lint", "unit", "types", "e2e")
BUDGETS = {
    "first frame with rows": 1000.0,
    "move the cursor": 50.0,
    "page down": 60.0,
    "filter key": 60.0,
    "open a run": 300.0,
    "back": 80.0,
    "switch screen": 80.0,
    "go line opens": 50.0,
    "idle cpu %": 3.0,
    "burst cpu %": 60.0,
}
"""p95 in ms, or percent of a core; the gate of a test is three times this."""


def snapshot(number: int, status: str, began: int) -> WorkflowRun:
    """A run of six steps."""
    chance = random.Random(number)
    done = 6 if status == "completed" else chance.randrange(6)
    steps = {
        name: StepState(
            status="completed" if at < done else ("failed" if status == "failed" else "pending"),
            attempts=1,
            started_at=format_time(began + at * SECOND),
            finished_at=format_time(began + (at + 1) * SECOND) if at < done else "",
            output=b'{"result":"something that a step returns","files":[1,2,3]}',
        )
        for at, name in enumerate(STEPS)
    }
    return WorkflowRun(
        run_id=f"{chance.getrandbits(128):032x}",
        workflow_id=chance.choice(FLOWS),
        status=status,
        steps=steps,
        created_at=format_time(began),
        completed_at=format_time(began + 6 * SECOND) if status != "running" else "",
        error="TimeoutError: step exceeded 30s" if status == "failed" else "",
        failed_step=STEPS[min(done, 5)] if status == "failed" else "",
    )


def status_of(number: int) -> str:
    """Mostly completed, some failed, the newest running."""
    if number < 200:
        return "running"
    return "failed" if number % 13 == 0 else "completed"


async def fill(url: str, count: int, now: int) -> None:
    """Write runs, the oldest first, the newest begun at a time."""
    bus = await connect(ConnectOptions(url=url))
    await provision(bus)
    for number in reversed(range(count)):
        run = snapshot(number, status_of(number), now - number * SECOND)
        await bus.publish(f"$KV.workflow_runs.run.{run.run_id}", encode(run))
        if number % 2000 == 0:
            await bus.nc.flush()
    await bus.close()


async def flood(url: str, rate: int, seconds: float, now: int) -> None:
    """Write snapshots of the newest runs, and new runs, at a rate."""
    bus = await connect(ConnectOptions(url=url))
    began, sent = time.monotonic(), 0
    chance = random.Random(5)
    while (passed := time.monotonic() - began) < seconds:
        while sent < passed * rate:
            sent += 1
            new = sent % 20 == 0
            number = 10_000_000 + sent if new else chance.randrange(200)
            status = chance.choice(("running", "completed", "failed"))
            run = snapshot(number, status, time.time_ns() if new else now - number * SECOND)
            await bus.publish(f"$KV.workflow_runs.run.{run.run_id}", encode(run))
        await asyncio.sleep(0.01)
    await bus.close()


class Terminal:
    """``dagnats ui`` on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(sys.executable, [sys.executable, "-m", "dagnats", "ui", *arguments])
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.seen = bytearray()

    def read(self, seconds: float) -> bool:
        """Take what is there; whether anything was."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return False
        try:
            self.seen += os.read(self.fd, 65536)
        except OSError:
            raise SystemExit(f"the console ended: {bytes(self.seen[-2000:])!r}") from None
        return True

    def until(self, there: Callable[[bytes], bool], limit: float = 20.0) -> float:
        """Wait until what came since the last key holds something; milliseconds."""
        began = time.perf_counter()
        while not there(bytes(self.seen)):
            if time.perf_counter() - began > limit:
                raise SystemExit(f"it did not come: {bytes(self.seen[-3000:])!r}")
            self.read(0.05)
        return (time.perf_counter() - began) * 1e3

    def press(self, keys: bytes, there: Callable[[bytes], bool]) -> float:
        """Milliseconds from a key to what it causes."""
        while self.read(0):
            pass
        self.seen.clear()
        os.write(self.fd, keys)
        return self.until(there)

    def calm(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)
        self.seen.clear()

    def close(self) -> None:
        """End it."""
        os.write(self.fd, b"q")
        time.sleep(0.3)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        os.waitpid(self.pid, 0)


def cursor_at(row: int) -> Callable[[bytes], bool]:
    """Whether the cursor bar was painted on a row."""
    return lambda seen: any(int(match[1]) == row for match in CURSOR.finditer(seen))


def holds(text: str) -> Callable[[bytes], bool]:
    """Whether a text was painted."""
    return lambda seen: text.encode() in seen


def describe(name: str, times: list[float]) -> dict[str, Any]:
    """Quantiles of what was measured."""
    row = {
        "name": name,
        "p50_ms": round(meter.quantile(times, 0.5), 1),
        "p95_ms": round(meter.quantile(times, 0.95), 1),
        "p99_ms": round(meter.quantile(times, 0.99), 1),
        "max_ms": round(max(times), 1),
        "samples": len(times),
        "budget_p95_ms": BUDGETS.get(name),
    }
    print(f"{name:24} p50 {row['p50_ms']:7} p95 {row['p95_ms']:7} p99 {row['p99_ms']:7} ms")
    return row


def moves(terminal: Terminal, count: int) -> list[float]:
    """The cursor down and up again."""
    times: list[float] = []
    terminal.press(b"g", lambda seen: True)
    terminal.calm(0.3)
    terminal.press(b"j", lambda seen: bool(CURSOR.search(seen)))
    # Where it is now it stays: rows that come in do not move what was moved to.
    at = int(CURSOR.findall(bytes(terminal.seen))[-1])
    terminal.calm(0.2)
    for number in range(count):
        down = number % 20 < 10
        at += 1 if down else -1
        times.append(terminal.press(b"j" if down else b"k", cursor_at(at)))
        terminal.calm(0.02)
    return times


def keys(terminal: Terminal, rounds: int) -> dict[str, list[float]]:
    """Every interaction of the table, some rounds."""
    times: dict[str, list[float]] = {}

    def take(name: str, key: bytes, there: Callable[[bytes], bool]) -> None:
        times.setdefault(name, []).append(terminal.press(key, there))
        terminal.calm(0.05)

    for _ in range(rounds):
        take("page down", b"\x1b[6~", lambda seen: bool(CURSOR.search(seen)))
        terminal.press(b"g", lambda seen: bool(CURSOR.search(seen)))
        terminal.calm(0.1)
        terminal.press(b"/", lambda seen: len(seen) > 0)
        terminal.calm(0.1)
        for char in b"etl":
            take("filter key", bytes([char]), lambda seen: b" of " in seen)
        terminal.press(b"\x1b", lambda seen: b":runs" in seen)
        terminal.calm(0.1)
        take("go line opens", b":", holds("Is anything on fire"))
        terminal.press(b"\x1b", lambda seen: len(seen) > 0)
        terminal.calm(0.15)
        take("open a run", b"\r", holds("steps done"))
        terminal.press(b"\x7f", holds("STATUS"))
        terminal.calm(0.1)
        take("switch screen", b"1", holds("PULSE"))
        take("back", b"\x7f", holds("STATUS"))
    return times


def usage(terminal: Terminal, seconds: float) -> float:
    """Percent of a core over some seconds."""
    before, began = meter.cpu(terminal.pid), time.monotonic()
    terminal.calm(seconds)
    return (meter.cpu(terminal.pid) - before) / (time.monotonic() - began) * 100


@asynccontextmanager
async def server() -> AsyncIterator[EmbeddedServer]:
    """A server of its own."""
    with tempfile.TemporaryDirectory(prefix="dagnats-bench-") as folder:
        made = EmbeddedServer(NatsSettings(data_dir=Path(folder), port=free_port(), sync="2m"))
        await made.start()
        yield made
        await made.stop()


def start_flood(url: str, *numbers: float) -> subprocess.Popen[bytes]:
    """The flood as a process of its own."""
    words = ["--flood", url, *map(str, numbers)]
    command = [sys.executable, "-m", "benchmarks.console", *words]
    return subprocess.Popen(command, preexec_fn=kernel_guard())  # noqa: PLW1509


async def main(stored: int, rate: int, seconds: float) -> None:
    """Fill, measure, print."""
    results: list[dict[str, Any]] = []
    async with server() as made:
        now = time.time_ns()
        await fill(made.url, stored, now)
        starts: list[float] = []
        for _ in range(5):
            terminal = Terminal("-s", made.url, ":runs")
            terminal.until(lambda seen: bool(CURSOR.search(seen)))
            starts.append((time.perf_counter() - terminal.began) * 1e3)
            terminal.close()
        results.append(describe("first frame with rows", starts))
        terminal = Terminal("-s", made.url, ":runs")
        terminal.until(lambda seen: bool(CURSOR.search(seen)))
        complete = f" of {stored:,}"
        terminal.until(holds(complete), 180)
        print(f"all {stored:,} read after {time.perf_counter() - terminal.began:.1f} s")
        terminal.calm(2)
        quiet = meter.rss(terminal.pid)
        idle = usage(terminal, 8)
        results.append(describe("move, idle", moves(terminal, 100)))
        flooding = start_flood(made.url, rate, seconds, now)
        terminal.calm(2)
        burst = usage(terminal, 5)
        results.append(describe("move the cursor", moves(terminal, 200)))
        results += [describe(name, times) for name, times in keys(terminal, 12).items()]
        flooding.wait()
        terminal.calm(2)
        after = meter.rss(terminal.pid)
        terminal.close()
    summary = {
        "stored_runs": stored,
        "writes_per_s": rate,
        "idle_cpu_percent": round(idle, 1),
        "burst_cpu_percent": round(burst, 1),
        "rss_mib": {"after reading": round(quiet, 1), "after the flood": round(after, 1)},
        "interactions": results,
    }
    print(f"cpu idle {idle:.1f} %, burst {burst:.1f} %; rss {quiet:.0f} -> {after:.0f} MiB")
    RESULTS.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--flood", nargs=4)
    given = parser.parse_args()
    if given.flood:
        url, rate, seconds, now = given.flood
        asyncio.run(flood(url, int(rate), float(seconds), int(now)))
    else:
        asyncio.run(main(given.stored, given.rate, given.seconds))
