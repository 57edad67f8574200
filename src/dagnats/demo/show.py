"""What the demo does, in order. Every line that starts with ``$`` is a command that was run."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from dagnats.demo.place import Place, example_folder, workflow_folder
from dagnats.errors import DagnatsError

HUNKS = 12
"""Hunks the demo's review looks at, so that its log fits a screen."""

SETTLE = 30.0
"""Seconds the runs beside the review may take."""

REPORT_LINES = 24
"""Lines of the report that are shown."""

FLOWS: tuple[tuple[str, str, str], ...] = (
    ("flaky-import", '{"rows": 3}', "fails twice, is retried with backoff, completes"),
    ("charge-card", '{"amount": 250}', "is refused for good, and goes to the dead-letter queue"),
    ("nightly-digest", "{}", "sleeps a second between its steps, on a durable timer"),
    ("release", '{"version": "1.2.0"}', "waits for somebody's approval"),
)
"""Workflow, input, and what it shows."""


def run_demo(*, keep: bool = False, as_json: bool = False) -> int:
    """Show dagnats at work on a private server, and remove every trace of it.

    Args:
        keep: leave server and workers running until Ctrl+C.
        as_json: let the commands print JSON, and tell the rest on standard error.

    Returns:
        The exit code: 0, or 1 when the code review did not complete.

    Raises:
        DagnatsError: server or worker did not start.
    """
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end cleans up as well
    with Place(as_json=as_json) as place:
        try:
            code = _show(place)
            place.tell(f"\nDone in {time.monotonic() - began:.1f} s.")
            if keep:
                _stay(place)
            elif sys.stdout.isatty():
                place.tell(
                    "Keep it running and look around: dagnats demo --keep, then dagnats run list"
                )
        except KeyboardInterrupt:
            place.tell("\nInterrupted; cleaning up.")
            return 130
    place.tell("Server and workers are stopped, the temporary data is removed.")
    return code


def _show(place: Place) -> int:
    _heading(place, "A private server and two workers")
    place.serve()
    review = example_folder()
    place.work(review / "worker.py")
    place.work(workflow_folder() / "worker.py")
    place.tell(f"nats-server, engine and HTTP API on {place.url}; data in {place.folder}")
    _register(place, review / "workflow.json")
    for name, _, _ in FLOWS:
        _register(place, workflow_folder() / f"{name}.json")

    _heading(place, "Four workflows in the background")
    for name, given, what in FLOWS:
        place.tell(f"# {name} {what}")
        place.command("run", "start", name, given)

    _heading(place, "A code review, live")
    given = json.dumps({"limit": HUNKS})
    code = place.command("run", "start", "code-review", given, "--watch", "--output")
    _report(place)

    _heading(place, "What became of the others")
    _approve(place)
    _settled(place)
    place.command("run", "list")
    place.command("dlq", "list")
    place.check()
    return 0 if code == 0 else 1


def _register(place: Place, path: Path) -> None:
    if place.command("workflow", "register", str(path)) != 0:
        raise DagnatsError(f"{path.name} was not registered")


def _report(place: Place) -> None:
    for path in sorted((place.folder / "reports").glob("code-review-*.md")):
        lines = path.read_text(encoding="utf-8").splitlines()
        place.tell(f"\nThe report, {len(lines)} lines:\n")
        for line in lines[:REPORT_LINES]:
            place.tell(f"  {line}")
        if len(lines) > REPORT_LINES:
            place.tell(f"  … and {len(lines) - REPORT_LINES} lines more")


def _approve(place: Place) -> None:
    """Say yes to the release, once it asks."""
    (run,) = _runs(place, "release")
    with _patience("release never asked for its approval"):
        for _ in _until():
            shown = json.loads(place.ask(("run", "status", run, "--json")))
            if shown["steps"]["approve"]["status"] == "running":
                break
    place.command("run", "approve", run, "approve")


def _settled(place: Place) -> None:
    with _patience("a run is still going"):
        for _ in _until():
            rows = json.loads(place.ask(("run", "list", "--json")))
            if all(row["status"] not in {"pending", "running"} for row in rows):
                return


def _runs(place: Place, workflow: str) -> list[str]:
    rows = json.loads(place.ask(("run", "list", "--workflow", workflow, "--json")))
    return [row["run_id"] for row in rows]


def _until() -> Iterator[None]:
    deadline = time.monotonic() + SETTLE
    while time.monotonic() < deadline:
        yield
        time.sleep(0.2)
    raise TimeoutError


@contextmanager
def _patience(what: str) -> Generator[None]:
    try:
        yield
    except TimeoutError:
        raise DagnatsError(f"{what} after {SETTLE:.0f} s") from None


def _stay(place: Place) -> None:
    place.tell(
        f"\nStill running. In another terminal:\n\n"
        f"  export DAGNATS_NATS_URL={place.url}\n"
        f"  dagnats run list\n\n"
        f"Ctrl+C ends it all."
    )
    try:
        while True:
            place.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        place.tell("")


def _heading(place: Place, text: str) -> None:
    place.tell(f"\n== {text} ==\n")
