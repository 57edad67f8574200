"""Every screen as a picture, in the states it can be in; the pictures lie in ``snapshots/``.

They come from recordings, whose clock stands still. After a wanted change look at the pictures and
accept them: ``pytest tests/tui/test_snapshots.py --snapshot-update``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytest_textual_snapshot as plugin

from dagnats.tui.app import Console
from dagnats.tui.replay import recorded_feed

ROOT = Path(__file__).parents[2]
RECORDINGS = Path(__file__).parent / "recordings"
NARROW, USUAL, WIDE = (80, 24), (120, 36), (200, 60)

plugin.SVGImageExtension.dirname = classmethod(  # type: ignore[method-assign]
    lambda cls, *, test_location: str(ROOT / "snapshots" / Path(test_location.filepath).stem)
)

Case = tuple[str, str, tuple[int, int], dict[str, Any]]

CASES: list[Case] = [
    ("home", "home", USUAL, {}),
    ("home-narrow", "home", NARROW, {}),
    ("home-wide", "home", WIDE, {}),
    ("home-light", "home", USUAL, {"theme": "dagnats-light"}),
    ("home-empty", "home", USUAL, {"recording": "empty"}),
    ("home-disconnected", "home", USUAL, {"lost": True}),
    ("runs", "runs", USUAL, {"press": ("j", "j", "space", "space")}),
    ("runs-narrow", "runs", NARROW, {"press": ("n",)}),
    ("runs-wide", "runs", WIDE, {}),
    ("runs-light", "runs status:failed", USUAL, {"theme": "dagnats-light"}),
    ("runs-contrast", "runs", NARROW, {"theme": "dagnats-contrast"}),
    ("runs-ascii", "runs", NARROW, {"ascii_only": True, "theme": "dagnats-mono"}),
    ("runs-empty", "runs", NARROW, {"recording": "empty"}),
    ("runs-nothing-matches", "runs /zzz", NARROW, {}),
    ("runs-disconnected", "runs status:active", NARROW, {"lost": True}),
    ("runs-read-only", "runs", NARROW, {"press": ("c",)}),
    ("runs-cancel", "runs status:active", USUAL, {"press": ("*", "c"), "read_only": ""}),
    ("help", "runs", USUAL, {"press": ("?",)}),
    ("go-line", "home", USUAL, {"press": (":", "r", "u", "n")}),
    ("filter", "runs", NARROW, {"press": ("/", "s", "l", "a")}),
]


@pytest.mark.parametrize(
    ("address", "size", "more"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_screen_looks_as_agreed(
    snap_compare: Any, address: str, size: tuple[int, int], more: dict[str, Any]
) -> None:
    recording = RECORDINGS / f"{more.get('recording', 'busy')}.rec"
    app = Console(
        recorded_feed(recording),
        address,
        theme=more.get("theme", "dagnats-dark"),
        ascii_only=more.get("ascii_only", False),
        read_only=more.get("read_only", "this is a recording"),
    )

    async def ready(pilot: Any) -> None:
        await settled(app, pilot)
        if more.get("lost"):
            app.feed._set("offline", "the connection was lost")
            app._frame()
        await pilot.press(*more.get("press", ()))
        await settled(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=ready)


async def settled(app: Console, pilot: Any) -> None:
    """Wait until all that was asked for is on the screen."""
    deadline = time.monotonic() + 10
    while app.view is None or not app.view.loaded or app.view._tasks or not app.feed.flows_read:
        assert time.monotonic() < deadline, "the screen was not complete"
        await pilot.pause(0.02)
    app._frame()
    await pilot.pause()
    while app.view._tasks:
        await pilot.pause(0.02)
    await pilot.pause()
