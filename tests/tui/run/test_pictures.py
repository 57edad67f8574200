"""A run in its states and sizes, from histories told in memory: the same every time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from dagnats.model.codec import encode
from dagnats.model.records import DeadLetter
from dagnats.model.times import SECOND, format_time
from dagnats.services.run_baseline import baseline_of
from dagnats.services.session import Session
from dagnats.tui.app import Console
from dagnats.tui.feed.feed import Feed
from dagnats.tui.line import Line
from dagnats.tui.printing import rows_of
from dagnats.tui.run.screen import RunScreen
from tests.tui.run.stories import Story, flow, step
from tests.tui.run.test_tracks import ASK

SNAPSHOTS = Path(__file__).parent / "snapshots"
NO_SESSION = cast("Session", None)
RUN = "3c6ef362d4a14a1c9b0e5f8a7d2c1b90"
RETRY = {"max_attempts": 3, "initial_delay": SECOND}
REVIEW = (
    step("plan"),
    step("code", "plan"),
    step("lint", "code"),
    step("unit", "code", retry=RETRY),
    step("types", "code", retry={"max_attempts": 2, "initial_delay": SECOND}),
    step("e2e", "unit"),
    step("review", "lint", "types", "e2e"),
    step("fix", "review"),
    step("notify", "review"),
    step("merge", "fix", "notify"),
)


def reviewed(slow: float = 1.0, *, types: bool = True, upto: str = "") -> Story:
    """A code review, told to its end or up to a step."""
    story = Story(flow("code-review", *REVIEW))
    story.start("code-review", {"pr": 812, "ref": "f00dcafe"}, RUN)
    story.sleep(0.2)
    story.work(1.8 * slow, {"files": ["api/serve.py", "api/run.py"]}, of="plan")
    story.work(7.3 * slow, {"patch": "…"}, of="code")
    story.work(1.7, of="lint")
    story.break_down(0.8, "flaky: port in use", of="unit")
    if not types:
        trace = 'Traceback (most recent call last):\n  File "serve.py", line 88\nExitError'
        error = "mypy found 2 errors in 1 file (checked 214 files)"
        for _ in range(3):
            story.sleep(1)
            story.break_down(1.1, error, of="types", traceback=trace)
        return story
    story.work(3.4, {"errors": 0}, of="types")
    story.sleep(1)
    story.work(2.4 * slow, {"passed": 214, "cases": [{"name": "a"}, {"name": "b"}]}, of="unit")
    if upto == "e2e":
        story.sleep(0.6)
        story.begin("e2e")
        story.sleep(6)
        return story
    for name in ("e2e", "review", "fix", "notify", "merge"):
        story.work(1.5, of=name)
    return story


LONG = {**ASK, "timeout": 7200 * SECOND, "description": "ship 1.2.0?"}


def waiting() -> Story:
    """A run that waits for everything a run can wait for."""
    story = Story(
        flow(
            "release",
            step("build"),
            step("nap", "build", type="sleep", task="", config={"duration": 3600 * SECOND}),
            step("ask", "build", type="approval", task="", config=LONG),
            step("shaky", "build", retry={"max_attempts": 5, "initial_delay": 90 * SECOND}),
            step("stuck", "build"),
            step("ship", "nap", "ask", "shaky", "stuck"),
        )
    )
    story.start("release", {"version": "1.2.0"}, RUN)
    story.work(4, of="build")
    story.break_down(2, "503 from the registry", of="shaky")
    story.sleep(60)
    return story


def fan(width: int) -> Story:
    """A fan-out in full swing."""
    names = [f"shard-{at:03d}" for at in range(width)]
    wide = [step(name, "split") for name in names]
    story = Story(flow("etl", step("split"), *wide, step("join", *names)))
    story.start("etl", None, RUN)
    story.work(1, of="split")
    for at in range(width * 2 // 3):
        story.work(0.01 * (at % 7 + 1))
    story.begin()
    story.sleep(0.5)
    return story


def mapped() -> Story:
    """A map with an item that failed once."""
    config = {"max_items": 100, "max_concurrency": 4}
    each = step("fetch", "urls", type="map", config=config, retry=RETRY)
    story = Story(flow("images", step("urls"), each, step("gallery", "fetch")))
    story.start("images", None, RUN)
    story.work(0.9, list(range(12)), of="urls")
    for at in range(6):
        story.work(0.3 + at / 10)
    story.break_down(0.2, "404")
    story.begin()
    story.sleep(0.4)
    return story


@asynccontextmanager
async def shown(
    story: Story, size: tuple[int, int], at: int = 0, **options: Any
) -> AsyncIterator[tuple[Console, RunScreen, Any]]:
    """A console without a server that shows the run of a story."""

    @asynccontextmanager
    async def never() -> AsyncIterator[Session]:
        await asyncio.Event().wait()
        yield NO_SESSION

    feed = Feed(now=lambda: story.now, recorded=never)
    app = Console(feed, f"run {RUN}", **{"theme": "dagnats-dark", **options})
    async with app.run_test(size=size) as pilot:
        while not isinstance(app.view, RunScreen) or app.view.reader is None:
            await pilot.pause()
        screen = app.view
        screen.state.take(story.view(RUN))
        screen.state.add(story.stored(RUN))
        await screen.state.history.begin(NO_SESSION)
        earlier = [reviewed(pace).run(RUN) for pace in (0.9, 1.0, 1.1)]
        if story.view(RUN).run.workflow_id == "code-review":
            screen.state.learn(baseline_of(earlier))
        failed = story.view(RUN).run.failed_step
        if failed:
            letter = DeadLetter(
                sequence=4182, run_id=RUN, step_id=failed, body_preserved=True,
                timestamp=format_time(story.now), body=encode({}),
            )  # fmt: skip
            feed.dead.add([letter])
        screen._changed()
        screen.flush()
        if at:
            screen.travel(at)
        await pilot.pause()
        await pilot.pause()
        yield app, screen, pilot


def told(row: Line) -> str:
    """A row with what is loud marked."""
    parts: list[str] = []
    for span in row.spans:
        words = set(span.role.split()) & {"bad", "warn", "retry", "canc"}
        loud = f"[{min(words)}]" if words and span.text.strip() else ""
        parts.append(loud + span.text)
    return "".join(parts).rstrip()


def same(app: Console, name: str) -> None:
    """The body looks as it did; ``DAGNATS_SNAPSHOTS=1`` takes the pictures anew."""
    rows = rows_of(app, app.size.width, app.size.height)
    now = "\n".join(told(row) for row in rows[1:]) + "\n"
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("DAGNATS_SNAPSHOTS"):
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8"), f"{name} looks different"
    assert all(row.width <= app.size.width for row in rows)


SIZES = {"80": (80, 24), "120": (120, 36), "160": (160, 45), "200": (200, 60)}
STORIES = {
    "failed": lambda: reviewed(types=False),
    "running": lambda: reviewed(1.6, upto="e2e"),
    "finished": reviewed,
    "waiting": waiting,
    "fan": lambda: fan(1000),
    "map": mapped,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["failed", "running"])
async def test_a_run_at_every_size(name: str, size: str) -> None:
    async with shown(STORIES[name](), SIZES[size]) as (app, _, _):
        same(app, f"{name}-{size}")


@pytest.mark.parametrize("name", ["finished", "waiting", "fan", "map"])
async def test_a_run_in_every_state(name: str) -> None:
    async with shown(STORIES[name](), SIZES["120"]) as (app, _, _):
        same(app, f"{name}-120")


async def test_a_fan_and_a_map_that_are_open() -> None:
    for name, key in (("fan", "fold:shard-000"), ("map", "fetch")):
        async with shown(STORIES[name](), SIZES["120"]) as (app, screen, pilot):
            row = next(row for row in screen.picture.rows if row.key == key)
            screen.toggle_row(row)
            await pilot.pause()
            same(app, f"{name}-open-120")


async def test_the_past_looks_like_the_past() -> None:
    for size in ("80", "120"):
        async with shown(STORIES["failed"](), SIZES[size], at=17) as (app, _, _):
            same(app, f"past-{size}")


async def test_a_narrow_terminal_turns_to_the_events() -> None:
    async with shown(STORIES["failed"](), SIZES["80"]) as (app, screen, pilot):
        screen.events.focus()
        await pilot.pause()
        same(app, "failed-events-80")


async def test_seven_bits_are_enough() -> None:
    async with shown(STORIES["failed"](), SIZES["80"], ascii_only=True) as (app, _, _):
        same(app, "failed-ascii-80")
        rows = rows_of(app, 80, 24)
        shown_text = "".join(row.text for row in rows[1:15])
        assert all(ord(char) < 128 for char in shown_text.replace("…", "").replace("·", ""))


@pytest.mark.parametrize(
    ("theme", "ground"),
    [("dagnats-light", "#fbfaf7"), ("dagnats-contrast", "#000000"), ("dagnats-mono", "#101010")],
)
async def test_every_theme_paints_it(theme: str, ground: str) -> None:
    async with shown(STORIES["failed"](), SIZES["80"], theme=theme) as (app, _, _):
        picture = app.export_screenshot()
        assert ground in picture
        assert "#0f1318" not in picture
