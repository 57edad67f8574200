"""The loop behind ``dagnats dev``: look, build, start, restart."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import FrameType

from dagnats.cli.outputs import DevLine
from dagnats.cli.render.console import err, out, paint
from dagnats.cli.render.results import emit
from dagnats.errors import InvalidError, NotFoundError
from dagnats.server.guard import kernel_guard
from dagnats.services.text import one_line

GRACE_S = 5.0
"""How long a process may take to end after SIGTERM."""
SETTLE_S = 0.1
"""Editors write several files at once: wait this long after a change."""
BINARY = ".dagnats-dev"
SKIPPED = frozenset({"vendor", "node_modules", "venv", "__pycache__", "tests"})
ENTRIES = ("main.py", "worker.py", "__main__.py")

Stamps = dict[str, tuple[int, int]]


class Project:
    """What is watched and how it is run.

    Args:
        root: the directory.
        suffix: of the files that count.
    """

    def __init__(self, root: Path, suffix: str) -> None:
        self.root = root
        self.suffix = suffix

    @property
    def go(self) -> bool:
        """Whether it has to be built."""
        return self.suffix == ".go"

    def stamps(self) -> Stamps:
        """Time and size of every source file that is no test."""
        found: Stamps = {}
        for path in self._sources():
            with contextlib.suppress(OSError):  # it went away meanwhile
                state = path.stat()
                found[str(path)] = (state.st_mtime_ns, state.st_size)
        return found

    def _sources(self) -> Iterator[Path]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = [f for f in folders if f not in SKIPPED and not f.startswith(".")]
            for name in files:
                if name.endswith(self.suffix) and not self._is_test(name):
                    yield Path(folder) / name

    def _is_test(self, name: str) -> bool:
        stem = name.removesuffix(self.suffix)
        return stem.endswith("_test") or (not self.go and stem.startswith("test_"))

    def command(self) -> list[str]:
        """What starts it, seen from its directory."""
        if self.go:
            return [str(Path.cwd() / self.root / BINARY)]
        entry = next((name for name in ENTRIES if (self.root / name).is_file()), "")
        if not entry:
            raise NotFoundError(
                f"no {', '.join(ENTRIES[:-1])} or {ENTRIES[-1]} found in {self.root}",
                "name the file that runs your worker main.py",
            )
        return [sys.executable, entry]

    def build(self, changed: Iterable[str] = ()) -> str:
        """Build it, or see whether Python can; returns what is wrong when that fails.

        Args:
            changed: files of a Python project that are new or different.
        """
        if not self.go:
            problems = (self._syntax_error(path) for path in changed)
            return next((problem for problem in problems if problem), "")
        command = ["go", "build", "-o", BINARY, "."]
        try:
            done = subprocess.run(
                command, cwd=self.root, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return "the go tool is not installed"
        return (done.stderr or f"exit code {done.returncode}") if done.returncode else ""

    def _syntax_error(self, path: str) -> str:
        name = os.path.relpath(path, self.root)
        try:
            compile(Path(path).read_bytes(), name, "exec", dont_inherit=True)
        except SyntaxError as error:
            return f"{name}:{error.lineno or 1}: {error.msg}"
        except (OSError, ValueError) as error:  # it went away meanwhile, or holds null bytes
            return f"{name}: {error}"
        return ""


def find_project(root: Path) -> Project:
    """The project in a directory: Go where there is a go.mod or only Go files, else Python.

    Raises:
        InvalidError: it is no directory.
        NotFoundError: there are no sources in it.
    """
    if not root.is_dir():
        raise InvalidError(f"{root} is not a directory")
    go = Project(root, ".go")
    if (root / "go.mod").is_file() or (go.stamps() and not Project(root, ".py").stamps()):
        return go
    python = Project(root, ".py")
    if not python.stamps():
        raise NotFoundError(
            f"no .py or .go files found in {root}", "start with 'dagnats init my-project'"
        )
    python.command()
    return python


class Loop:
    """Watches a project and keeps its process running.

    Args:
        project: what to watch.
        folder: its directory as the user wrote it.
        delay_s: seconds between two looks.
        url: NATS address to hand to the process; empty: leave its environment alone.
        data: what is said goes to a program, and the process's own output to standard error.
    """

    def __init__(
        self, project: Project, folder: str, delay_s: float, url: str, *, data: bool
    ) -> None:
        self._project = project
        self._folder = folder
        self._delay_s = delay_s
        self._data = data
        self._child: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._environment = os.environ | {"DAGNATS_DEV_MODE": "true"}
        if url:
            self._environment["DAGNATS_NATS_URL"] = url

    def run(self) -> None:
        """Build, start, and go on until interrupted.

        Raises:
            InvalidError: the first build fails.
        """
        stamps = self._project.stamps()
        self._say("watching", f"watching {len(stamps)} files in {self._folder}")
        if self._project.go:
            _ignore_binary(self._project.root)
            self._say("building", "building...")
            if problem := self._project.build():
                raise InvalidError(f"build failed: {problem.strip()}")
        with self._interruptible():
            try:
                self._start()
                self._say("started", "started")
                self._watch(stamps)
            finally:
                self._shut_down()

    def _watch(self, stamps: Stamps) -> None:
        while not self._stop.wait(self._delay_s):
            self._notice_end()
            latest = self._project.stamps()
            if latest == stamps:
                continue
            if self._stop.wait(SETTLE_S):
                return
            before, stamps = stamps, self._project.stamps()
            self._restart(path for path in stamps if stamps[path] != before.get(path))

    def _restart(self, changed: Iterable[str]) -> None:
        what = "rebuilding" if self._project.go else "restarting"
        self._say("changed", f"change detected, {what}...")
        if problem := self._project.build(changed):
            self._complain(f"build failed (keeping old process): {problem.strip()}")
            return
        self._end()
        self._start()
        self._say("restarted", "restarted")

    def _start(self) -> None:
        self._child = subprocess.Popen(
            self._project.command(),
            cwd=self._project.root,
            env=self._environment,
            process_group=0,
            preexec_fn=kernel_guard(),  # noqa: PLW1509 - no other thread of ours holds a lock
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__ if self._data else None,
        )

    def _notice_end(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            code = self._child.returncode
            self._child = None
            self._complain(f"the process ended with code {code}; waiting for a change")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None or child.poll() is not None:
            return
        _signal(child, signal.SIGTERM)
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.wait()

    def _shut_down(self) -> None:
        if not self._data:
            out()
        self._say("stopping", "shutting down...")
        self._end()
        if self._project.go:
            (self._project.root / BINARY).unlink(missing_ok=True)

    def _say(self, event: str, text: str) -> None:
        document = DevLine(event=event, time=time.time(), text=text)
        emit(document, lambda: f"{paint('[dev]', 'accent')} {one_line(text)}", name=event)

    def _complain(self, text: str) -> None:
        if self._data:
            self._say("problem", text)
        else:
            err(f"[dev] {one_line(text, 2_000)}")

    @contextlib.contextmanager
    def _interruptible(self) -> Generator[None]:
        """Ctrl+C and SIGTERM end the loop instead of the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._stop.set()

        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _ignore_binary(root: Path) -> None:
    """Keep the built program out of the user's commits; a convenience, so best effort."""
    path = root / ".gitignore"
    with contextlib.suppress(OSError):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if BINARY not in text.splitlines():
            separator = "" if not text or text.endswith("\n") else "\n"
            path.write_text(f"{text}{separator}{BINARY}\n", encoding="utf-8")
