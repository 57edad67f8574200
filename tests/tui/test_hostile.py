"""Text from strangers on every screen: nothing of it reaches the terminal as a control."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from typing import Any

import pytest

from dagnats.model.codec import encode
from dagnats.model.records import AuditEvent, LogRecord, ServiceRecord, WorkerRegistration
from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.times import format_time
from dagnats.server.embedded import EmbeddedServer
from dagnats.services.session import Session
from dagnats.tui.screens import SCREENS
from dagnats.wire.publisher import Outgoing
from tests.services.conftest import definition_of, step

CORPUS = (
    "\x1b]0;pwned\x07",
    "\x1b[2J\x1b[31mred",
    "\x9b31m\x9dtitle\x9c",
    "[/] [/foo] [red]markup[/red] [@click=app.quit]x[/]",
    "\u202ereversed\u202c \u2066isolate\u2069",
    "zero\u200bwidth\u200djoiner\ufe0f \ufeff",
    "line\nbreak\r\ttab\x00nul\x7fdel",
    "e\u0301\u0323 汉字 한국어 🏳️‍🌈 👩‍👩‍👧‍👦",
    "\ud7ff\ue000\ufffe lone",
    "x" * 5_000,
)
EVIL = " ".join(CORPUS)
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
# What Textual itself sends: cursor, colours, modes, queries, and the line ends between rows.
OURS = re.compile(
    rb"\x1b\[[<=>?]?[0-9;]*[A-Za-z]|\x1b\[\?[0-9;]*\$p|\x1b\]22;[a-z]*(?:\x07|\x1b\\)|\x1b[78=>()][AB0]?|\r\n"
)
RUN = "deadbeef" * 4


async def poison(session: Session) -> None:
    """Fill every place that a screen reads with the corpus."""
    stores, now = session.stores, time.time_ns()
    wf = definition_of("evil", step("a"), step("b", "a"), version=EVIL)
    await stores.definitions.put("evil", wf)
    steps = {
        name: StepState(status="failed", error=EVIL, attempts=3, output=encode({EVIL: [EVIL]}),
                        started_at=format_time(now - 10**9), worker_id=EVIL[:60])
        for name in ("a", EVIL[:200])
    }  # fmt: skip
    run = WorkflowRun(
        run_id=RUN, workflow_id="evil", status="failed", steps=steps, error=EVIL,
        failed_step="a", created_at=format_time(now - 2 * 10**9), input=_raw({"key": EVIL}),
    )  # fmt: skip
    odd = WorkflowRun(
        run_id="feedface" * 4, workflow_id=EVIL, status=EVIL[:40], steps={}, created_at=EVIL
    )
    await stores.runs.put(f"run.{RUN}", run)
    await stores.runs.put(f"run.{odd.run_id}", odd)
    headers = {
        "Dagnats-Dlq-Run-Id": RUN,
        "Dagnats-Dlq-Step-Id": "a",
        "Dagnats-Dlq-Task": "t\u202e[/]",
        "Dagnats-Dlq-Error": EVIL.replace("\n", " ").replace("\r", " ").replace("\x00", " "),
        "Dagnats-Dlq-Task-Subject": "task.t.x",
    }
    body = encode({"run_id": RUN, "input": {EVIL: EVIL}})
    await session.bus.publisher.publish(Outgoing("dead.t.x", body, "dead-1", headers))
    record = LogRecord(
        timestamp=format_time(now), severity="error", body=EVIL, attributes={EVIL: EVIL},
        service_name="svc",
    )  # fmt: skip
    await session.bus.publisher.publish(
        Outgoing("telemetry.logs.svc.error", encode(record), "log-1")
    )
    audit = AuditEvent(time=format_time(now), actor=EVIL, action=EVIL, target=EVIL, data={EVIL: 1})
    await stores.audit.put("20260101T000000.0Z-a", audit)
    worker = WorkerRegistration(
        worker_id=EVIL, task_types=[EVIL], language=EVIL, hostname=EVIL, metadata={"name": EVIL},
        last_seen=format_time(now),
    )  # fmt: skip
    await stores.workers.put("w1", worker)
    await stores.services.put("s1", ServiceRecord(name=EVIL, description=EVIL))
    event = {"type": EVIL, "run_id": RUN, "step_id": EVIL, "payload": {EVIL: EVIL}}
    await session.bus.publisher.publish(Outgoing(f"history.{RUN}", encode(event), "event-1"))


def _raw(value: Any) -> Any:
    from dagnats.model.codec import raw

    return raw(value)


def addresses() -> list[str]:
    """Every screen; those that take a thing, with a poisoned one."""
    things = {"run": RUN, "flow": "evil", "diff": f"{RUN} {RUN}"}
    return [f"{entry.kind} {things.get(entry.kind, '')}".strip() for entry in SCREENS]


async def test_no_screen_shows_a_control_character(console: Any, session: Session) -> None:
    size = (110, 40)
    await poison(session)
    async with console("home", size=size) as ui:
        for address in addresses():
            ui.app.go(address)
            await ui.until(lambda a=address: ui.app.view is not None and ui.app.view.loaded)
            await ui.press("j", "tab", "j")
            await asyncio.sleep(0.05)
            for row in ui.screen():
                assert not CONTROLS.search(row), (address, row)
                assert len(row) <= size[0], (address, row)


def test_no_control_reaches_a_real_terminal(poisoned: str) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.execv(sys.executable, [sys.executable, "-m", "dagnats", "ui", "-s", poisoned, "runs"])
    ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    sent = b"".join(_session(fd))
    os.waitpid(pid, 0)
    assert b"pwned" in sent  # shown, as text
    text = OURS.sub(b"", sent).decode(errors="replace")
    found = CONTROLS.search(text)
    assert found is None, repr(text[max(found.start() - 80, 0) : found.end() + 40])


def _session(fd: int) -> Iterator[bytes]:
    """Visit every screen, then leave."""
    yield from _heard(fd, b"pwned", 15)
    for address in addresses():
        os.write(fd, b":")
        yield from _heard(fd, b"screen", 2)
        os.write(fd, address.encode() + b"\r")
        yield from _heard(fd, b"\x00never", 0.2)
        os.write(fd, b"jj\t")
    os.write(fd, b"q")
    yield from _heard(fd, b"\x1b[?1049l", 5)


def _heard(fd: int, wanted: bytes, seconds: float) -> Iterator[bytes]:
    end, seen = time.monotonic() + seconds, b""
    while wanted not in seen and (left := end - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            seen += data
            yield data


@pytest.fixture
async def poisoned(nats_server: EmbeddedServer, session: Session) -> str:
    await poison(session)
    return nats_server.url
