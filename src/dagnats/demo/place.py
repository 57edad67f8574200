"""Where the demo lives while it runs: a temporary folder, free ports, and child processes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from dagnats.errors import DagnatsError
from dagnats.server.embedded import free_port
from dagnats.server.guard import kernel_guard

READY = 20.0
"""Seconds the server may take to say that it is ready."""

READY_WORDS = "server ready"
"""What the server logs once everything runs."""

STOP = 20.0
"""Seconds a child may take to end; the server's own drain takes at most 15."""

_FORGET = ("DAGNATS_", "NATS_")
"""Settings of the user's own server must not reach the demo's."""


def workflow_folder() -> Path:
    """Where the demo's own workflow files and worker are."""
    return Path(__file__).parent / "workflows"


def example_folder() -> Path:
    """The code-review example: inside the package once installed, else in the source tree.

    Raises:
        DagnatsError: it is in neither place.
    """
    installed = Path(__file__).parent / "code_review"
    in_tree = Path(__file__).parents[3] / "examples" / "code-review"
    for folder in (installed, in_tree):
        if (folder / "worker.py").is_file():
            return folder
    raise DagnatsError("the code-review example is not installed", "reinstall dagnats")


class Place:
    """A private server with workers; a context manager that leaves nothing behind.

    Args:
        as_json: commands print JSON to standard output, and everything else goes to standard error.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._temporary = tempfile.TemporaryDirectory(prefix="dagnats-demo-")
        self.folder = Path(self._temporary.name)
        self.nats_port = free_port()
        self.http_port = free_port()
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.nats_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every child."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_FORGET)}
        reports = str(self.folder / "reports")
        return kept | {"DAGNATS_NATS_URL": self.url, "DAGNATS_REPORT_DIR": reports}

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the children, the youngest first, then remove the folder."""
        while self._children:
            _, child = self._children.pop()
            end(child)
        self._temporary.cleanup()

    def serve(self) -> None:
        """Start the server and wait until it is ready.

        Raises:
            DagnatsError: it ended, or did not become ready in time.
        """
        settings = {
            "data_dir": str(self.folder / "data"),
            "nats_port": self.nats_port,
            "http_addr": f"127.0.0.1:{self.http_port}",
            "sync": "2m",  # nothing here outlives the demo, so no write needs to be synced
        }
        # JSON is YAML, and quotes whatever a path may contain.
        (self.folder / "dagnats.yaml").write_text(json.dumps(settings) + "\n")
        environment = {k: v for k, v in self.environment.items() if k != "DAGNATS_NATS_URL"}
        self._start("serve", ("-m", "dagnats", "serve"), environment)
        self._wait_ready()

    def work(self, script: Path) -> None:
        """Start a worker.

        Args:
            script: the Python file to run.
        """
        self._start(script.parent.name, (str(script),), self.environment)

    def traffic(self) -> None:
        """Start what fills the console: workflows, workers, and somebody who starts runs."""
        self._start("traffic", ("-m", "dagnats.demo.traffic"), self.environment)

    def tell(self, text: str) -> None:
        """Tell the user something."""
        stream = sys.stderr if self._as_json else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def command(self, *arguments: str) -> int:
        """Show a ``dagnats`` command and run it on the user's terminal.

        Returns:
            Its exit code.
        """
        shown = " ".join(shlex.quote(part) for part in arguments)
        self.tell(f"$ dagnats {shown}")
        extra = ("--json",) if self._as_json else ()
        command = [sys.executable, "-m", "dagnats", *arguments, *extra]
        return subprocess.run(command, env=self.environment, check=False).returncode

    def ask(self, arguments: Sequence[str]) -> str:
        """What ``dagnats`` prints for these arguments.

        Raises:
            DagnatsError: it failed.
        """
        command = [sys.executable, "-m", "dagnats", *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise DagnatsError(f"dagnats {' '.join(arguments)}: {done.stderr.strip()[:400]}")
        return done.stdout

    def check(self) -> None:
        """Make sure that every child still runs.

        Raises:
            DagnatsError: one has ended; with its last words.
        """
        for name, child in self._children:
            if child.poll() is not None:
                lines = self._log(name).read_text(errors="replace").strip().splitlines()
                words = " ".join(lines[-2:])[-300:] or "it said nothing"
                raise DagnatsError(f"{name} ended with code {child.returncode}: {words}")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _start(self, name: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        with self._log(name).open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl+C is for us; we end the children in order
                preexec_fn=kernel_guard(),  # noqa: PLW1509 - we have no threads
            )
        self._children.append((name, child))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise DagnatsError(f"the server was not ready after {READY:.0f} s")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        return READY_WORDS in self._log("serve").read_text(errors="replace")


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, and make it end when it does not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
