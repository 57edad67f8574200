"""Every screen as a picture, in the states it can be in; the pictures lie in ``snapshots/``.

They come from recordings, whose clock stands still. After a wanted change look at the pictures and
accept them: ``pytest tests/tui/test_snapshots.py --snapshot-update``. One console shows all
pictures of a kind, since starting it takes longer than painting.
"""

from __future__ import annotations

import re
import time
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion

from dagnats.tui.app import Console
from dagnats.tui.replay import recorded_feed
from dagnats.tui.sheets.base import Sheet

ROOT = Path(__file__).parents[2]
RECORDINGS = Path(__file__).parent / "recordings"
NARROW, USUAL, WIDE = (80, 24), (120, 36), (200, 60)
FAILED, OTHER = "0d7126a7", "fde147d8"
"""Two runs of code-review in the recording."""


class Case(NamedTuple):
    """One picture."""

    name: str
    address: str
    press: tuple[str, ...] = ()
    lost: bool = False


class Kind(NamedTuple):
    """What pictures have in common."""

    name: str
    size: tuple[int, int]
    theme: str = "dagnats-dark"
    recording: str = "busy"
    ascii_only: bool = False
    read_only: str = "this is a recording"


PICTURES: dict[Kind, tuple[Case, ...]] = {
    Kind("usual", USUAL): (
        Case("home", "home"),
        Case("runs", "runs", ("j", "j", "space", "space")),
        Case("run", f"run {FAILED}"),
        Case("run-past", f"run {FAILED} at:14"),
        Case("diff", f"diff {FAILED} {OTHER}"),
        Case("dlq", "dlq", ("enter",)),
        Case("queues", "queues"),
        Case("flows", "flows", ("j",)),
        Case("flow", "flow image-pipeline"),
        Case("triggers", "triggers"),
        Case("waiting", "waiting"),
        Case("logs", "logs"),
        Case("system", "system"),
        Case("audit", "audit"),
        Case("help", "runs", ("?",)),
        Case("go-line", "home", (":", "r", "u", "n")),
        Case("home-disconnected", "home", lost=True),
    ),
    Kind("narrow", NARROW): (
        Case("home", "home"),
        Case("runs", "runs", ("n",)),
        Case("runs-read-only", "runs", ("c",)),
        Case("runs-nothing-matches", "runs /zzz"),
        Case("filter", "runs", ("/", "s", "l", "a")),
        Case("run", f"run {FAILED}"),
        Case("dlq", "dlq"),
        Case("queues", "queues"),
        Case("flows", "flows"),
        Case("logs", "logs"),
        Case("runs-disconnected", "runs status:active", lost=True),
    ),
    Kind("wide", WIDE): (Case("home", "home"), Case("runs", "runs"), Case("run", f"run {FAILED}")),
    Kind("light", USUAL, theme="dagnats-light"): (
        Case("home", "home"),
        Case("runs", "runs status:failed"),
        Case("run", f"run {FAILED}"),
        Case("dlq", "dlq"),
    ),
    Kind("contrast", NARROW, theme="dagnats-contrast"): (Case("runs", "runs"),),
    Kind("ascii", NARROW, theme="dagnats-mono", ascii_only=True): (
        Case("runs", "runs"),
        Case("run", f"run {FAILED}"),
    ),
    Kind("empty", NARROW, recording="empty"): tuple(
        Case(kind, kind)
        for kind in ("home", "runs", "dlq", "queues", "flows", "triggers", "waiting", "logs")
    ),
    Kind("read-write", USUAL, read_only=""): (
        Case("runs-cancel", "runs status:active", ("*", "c")),
        Case("dlq-replay", "dlq", ("r",)),
    ),
}


@pytest.mark.parametrize("kind", PICTURES, ids=lambda kind: kind.name)
async def test_screen(kind: Kind, snapshot: SnapshotAssertion) -> None:
    pictures = snapshot.use_extension(Picture)
    app = Console(
        recorded_feed(RECORDINGS / f"{kind.recording}.rec"),
        "home",
        theme=kind.theme,
        ascii_only=kind.ascii_only,
        read_only=kind.read_only,
    )
    wrong: list[str] = []
    async with app.run_test(size=kind.size) as pilot:
        await settled(app, pilot)
        for case in PICTURES[kind]:
            await show(app, pilot, case)
            if picture_of(app) != pictures(name=case.name):
                wrong.append(case.name)
            await clear(app, pilot)
    assert not wrong, f"not as agreed: {', '.join(wrong)}; look at them with --snapshot-update"


class Picture(SVGImageExtension):
    """An SVG below ``snapshots/``."""

    @classmethod
    def dirname(cls, *, test_location: Any) -> str:
        return str(ROOT / "snapshots" / Path(test_location.filepath).stem)


def picture_of(app: Console) -> str:
    """The screen as SVG; the address and the name of the private server are those of no server."""
    svg = app.export_screenshot(title="dagnats")
    svg = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:40000", svg)
    return re.sub(r"\bN[A-Z0-9]{19}\b", "N" * 20, svg)


async def show(app: Console, pilot: Any, case: Case) -> None:
    app.go(case.address)
    await pilot.pause()
    await settled(app, pilot)
    if case.lost:
        app.feed._set("offline", "the connection was lost")
    await pilot.press(*case.press)
    await settled(app, pilot)


async def clear(app: Console, pilot: Any) -> None:
    """As if the console had just been opened."""
    while isinstance(app.screen, Sheet):
        app.pop_screen()
    await pilot.press("escape", "escape")
    app.navigator.forget()
    app.reports.undo, app.reports.last = None, ("", "")
    await pilot.pause()


async def settled(app: Console, pilot: Any) -> None:
    """Wait until all that was asked for is on the screen."""
    deadline = time.monotonic() + 20
    while app.view is None or not app.view.loaded or busy(app) or not app.feed.flows_read:
        assert time.monotonic() < deadline, f"{app.navigator.root} was not complete"
        await pilot.pause(0.02)
    app.view.flush()
    await pilot.pause(0.05)
    while busy(app):
        assert time.monotonic() < deadline, f"{app.navigator.root} was not complete"
        await pilot.pause(0.02)
    app.view.tick()
    app.refresh_chrome()
    await pilot.pause()


def busy(app: Console) -> bool:
    return app.view is not None and app.view.reading


def test_every_screen_has_its_picture() -> None:
    from dagnats.tui.screens import SCREENS

    shown = {case.address.split()[0] for cases in PICTURES.values() for case in cases}
    assert [entry.kind for entry in SCREENS if entry.kind not in shown] == []
    names = [f"{kind.name}-{case.name}" for kind, cases in PICTURES.items() for case in cases]
    assert [name for name, same in groupby(sorted(names)) if len(list(same)) > 1] == []
