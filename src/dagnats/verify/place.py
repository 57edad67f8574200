"""A server and a worker as processes that can be killed and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from dagnats.server.embedded import free_port
from dagnats.server.guard import kernel_guard

STOP_S = 20.0
"""Seconds a process may take to end by itself."""

_FORGET = ("DAGNATS_", "NATS_")
"""Settings of the user's own server must not reach this one."""


class Victim(StrEnum):
    """What is killed."""

    SERVER = "server"
    """The whole of ``dagnats serve``: its nats-server dies with it."""
    WORKER = "worker"
    """The worker and its whole process group."""
    NATS = "nats"
    """Only the nats-server; ``dagnats serve`` starts it again."""


class Place:
    """The processes, and a folder for them that vanishes in the end; a context manager.

    Args:
        worker: the worker's command line; ``DAGNATS_NATS_URL`` tells it where to connect.
        sync: see ``sync`` of the server.
    """

    def __init__(self, worker: Sequence[str], sync: str = "2m") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="dagnats-verify-")
        self.folder = Path(self._temporary.name)
        self.port = free_port()
        self._sync = sync
        self._commands = {
            Victim.SERVER: [sys.executable, "-m", "dagnats", "serve"],
            Victim.WORKER: list(worker),
        }
        self._processes: dict[Victim, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def log(self, name: Victim) -> Path:
        """The file with what a process has printed."""
        return self.folder / f"{name}.log"

    def __enter__(self) -> Place:
        self.start(Victim.SERVER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes, by force if need be."""
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            _signal(process, signal.SIGKILL)
            process.wait()
        self._temporary.cleanup()

    def kill(self, victim: Victim) -> None:
        """Kill at once, and start again what nobody else starts."""
        if victim == Victim.NATS:
            for pid in _nats_servers(self._processes[Victim.SERVER].pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        process = self._processes[victim]
        _signal(process, signal.SIGKILL)
        process.wait()
        self.start(victim)

    def revive(self) -> list[Victim]:
        """Start what has ended by itself, as a supervisor would; which it was."""
        ended = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in ended:
            self.start(name)
        return ended

    def start(self, name: Victim) -> None:
        """Start the server, or the worker once the server answers."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_FORGET)}
        if name == Victim.WORKER:
            environment["DAGNATS_NATS_URL"] = self.url
        else:
            environment |= {
                "DAGNATS_DATA_DIR": str(self.folder / "data"),
                "DAGNATS_NATS_PORT": str(self.port),
                "DAGNATS_HTTP_ADDR": f"127.0.0.1:{free_port()}",
                "DAGNATS_SYNC": self._sync,
            }
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._commands[name],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=kernel_guard(),  # noqa: PLW1509 - no threads
            )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and all it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _nats_servers(parent: int) -> list[int]:
    """The nats-server of a ``dagnats serve``, by ``/proc``."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, _, rest = (folder / "stat").read_text().partition("(")[2].partition(") ")
            if name.startswith("nats-server") and rest.split()[1] == str(parent):
                found.append(int(folder.name))
    return found
