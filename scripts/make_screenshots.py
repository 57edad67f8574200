"""The pictures of README and docs: ``make screenshots`` (``tui.md`` 3.9).

Starts the demo, records it once it has something to show, and paints the recording: what is in
``screenshots/`` is what the console shows. Needs ``rsvg-convert`` for PNG; without it, SVG is
written.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dagnats.demo.place import Place
from dagnats.services.contexts import ConnectSettings
from dagnats.services.recording import record
from dagnats.services.session import open_session
from dagnats.tui.app import Console
from dagnats.tui.replay import recorded_feed

TARGET = Path(__file__).parent.parent / "screenshots"
WARM_UP_S = 100.0
"""Seconds the demo runs before it is recorded."""

USUAL, NARROW, WIDE = (120, 36), (80, 24), (160, 45)
PICTURES: list[tuple[str, str, tuple[int, int], str, tuple[str, ...]]] = [
    ("home", "home", USUAL, "dagnats-dark", ()),
    ("home-light", "home", USUAL, "dagnats-light", ()),
    ("home-80x24", "home", NARROW, "dagnats-dark", ()),
    ("runs", "runs", WIDE, "dagnats-dark", ("n",)),
    ("runs-80x24", "runs", NARROW, "dagnats-dark", ("n",)),
    ("run", "FAILED", USUAL, "dagnats-dark", ()),
    ("run-80x24", "FAILED", NARROW, "dagnats-dark", ()),
    ("dlq", "dlq", USUAL, "dagnats-dark", ()),
    ("queues", "queues", USUAL, "dagnats-dark", ()),
    ("flows", "flows", USUAL, "dagnats-dark", ("j",)),
    ("triggers", "triggers", USUAL, "dagnats-dark", ()),
    ("waiting", "waiting", USUAL, "dagnats-dark", ()),
    ("logs", "logs", USUAL, "dagnats-dark", ()),
    ("system", "system", USUAL, "dagnats-dark", ()),
    ("audit", "audit", USUAL, "dagnats-dark", ()),
    ("go-line", "home", USUAL, "dagnats-dark", (":", "c", "o", "d", "e")),
    ("why", "runs status:queued", USUAL, "dagnats-dark", ("w", "~")),
]
"""Name, address (``FAILED``: a failed run of code-review), size, theme, keys; ``~`` waits."""


def recorded(path: Path) -> None:
    """Run the demo for a while, and record it."""
    with Place() as place:
        place.serve()
        place.traffic()
        time.sleep(WARM_UP_S)
        asyncio.run(_record(place.url, path))


async def _record(url: str, path: Path) -> None:
    async with open_session(ConnectSettings(server=url)) as session:
        await record(session, path)


async def picture(
    recording: Path, address: str, size: tuple[int, int], theme: str, keys: tuple[str, ...]
) -> str:
    """One screen as SVG."""
    app = Console(recorded_feed(recording), "home", theme=theme)
    app.feed.link.name = "prod"
    async with app.run_test(size=size) as pilot:
        await _loaded(app)
        app.feed.link.state, app.feed.rate = "live", 36.0  # as it was when it was recorded
        app.go(_failed(app) if address == "FAILED" else address)
        await _loaded(app)
        for key in keys:
            if key == "~":
                await pilot.pause(0.5)
            else:
                await pilot.press(key)
        await _loaded(app)
        await pilot.pause(0.3)
        return app.export_screenshot(title="dagnats ui")


def _failed(app: Console) -> str:
    for row in app.feed.pulse.newest_failures(200):
        if row.workflow == "code-review" and row.step == "types" and "mypy" in row.error:
            return f"run {row.run_id}"
    return f"run {app.feed.pulse.newest_failures(1)[0].run_id}"


async def _loaded(app: Console) -> None:
    end = time.monotonic() + 15
    await asyncio.sleep(0.2)
    while app.view is None or not app.view.loaded:
        if time.monotonic() > end:
            raise SystemExit(f"{app.navigator.root} was not complete")
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.4)


def write(name: str, svg: str) -> None:
    """As PNG if that can be made, else as SVG."""
    TARGET.mkdir(exist_ok=True)
    # librsvg eats leading spaces, and has no web font.
    svg = svg.replace("Fira Code", "DejaVu Sans Mono").replace(
        "<text ", '<text xml:space="preserve" '
    )
    if shutil.which("rsvg-convert") is None:
        (TARGET / f"{name}.svg").write_text(svg, encoding="utf-8")
        return
    command = ["rsvg-convert", "-w", "1100", "-o", str(TARGET / f"{name}.png")]
    subprocess.run(command, input=svg.encode(), check=True)


def main() -> None:
    """Record unless there is a recording, then paint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, help="paint this instead of a new one")
    parser.add_argument("names", nargs="*", help="only these pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.recording or Path(folder) / "demo.rec"
        if given.recording is None:
            recorded(path)
        for name, address, size, theme, keys in PICTURES:
            if not given.names or name in given.names:
                write(name, asyncio.run(picture(path, address, size, theme, keys)))
                sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
