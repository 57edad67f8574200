"""Moments as columns, and bars that say what an attempt did."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.times import HOUR, SECOND
from dagnats.tui.run.timeline import Scale, bar, crowd_bar, mark_usual, work_of
from dagnats.tui.run.tracks import Attempt, Mark
from dagnats.tui.theme import Look

LOOK = Look()


def attempt(
    queued: float | None, started: float | None, ended: float | None, outcome: str = ""
) -> Attempt:
    marks = [None if at is None else Mark(int(at * SECOND)) for at in (queued, started, ended)]
    return Attempt(queued=marks[0], started=marks[1], ended=marks[2], outcome=outcome)


def drawn(attempts: list[Attempt], now: int = 20, waits: bool = False) -> str:
    scale = Scale(0, 20 * SECOND, [(0, 20 * SECOND)], 21)
    cells = bar(attempts, scale, now * SECOND, LOOK, waits=waits)
    return "".join(glyph for glyph, _ in cells).rstrip()


def test_an_attempt_waits_and_runs() -> None:
    assert drawn([attempt(2, 5, 9, "completed")]) == "  ░░░━━━━━"


def test_a_retry_shows_where_the_first_was_cut_short() -> None:
    found = drawn([attempt(0, 1, 4, "failed"), attempt(8, 9, 12, "completed")])
    assert found == f"░━━━{LOOK.glyph('cut')}···░━━━━"


def test_what_goes_on_ends_now() -> None:
    assert drawn([attempt(0, 2, None)], 6) == "░░━━━━╸"
    assert drawn([attempt(0, None, None)], 3) == "░░░░"
    assert drawn([attempt(None, 2, None)], 6, waits=True) == "  ────╸"


def test_a_moment_takes_at_least_one_column() -> None:
    assert drawn([attempt(3, 3, 3, "completed")]) == "   ━"


def test_the_usual_end_is_marked() -> None:
    scale = Scale(0, 20 * SECOND, [(0, 20 * SECOND)], 21)
    cells = bar([attempt(0, 0, 4, "completed")], scale, 0, LOOK)
    mark_usual(cells, 0, 7 * SECOND, scale, LOOK)
    mark_usual(cells, 0, 90 * SECOND, scale, LOOK)
    assert "".join(glyph for glyph, _ in cells).rstrip() == "━━━━━  ┆"


def test_a_crowd_is_as_high_as_it_is_many() -> None:
    scale = Scale(0, 20 * SECOND, [(0, 20 * SECOND)], 21)
    crowd = [[attempt(0, at, at + 8, "completed")] for at in range(8)]
    cells = crowd_bar(crowd, scale, 0, LOOK, "ok")
    glyphs = "".join(glyph for glyph, _ in cells).rstrip()
    assert glyphs[0] < glyphs[7] > glyphs[14]
    assert len(glyphs) == 16


def test_long_idle_stretches_are_shortened() -> None:
    work = [(0, 10 * SECOND), (5 * HOUR, 5 * HOUR + 10 * SECOND)]
    scale = Scale(0, 5 * HOUR + 10 * SECOND, work, 100)
    assert scale.column(10 * SECOND) > 30
    assert scale.column(5 * HOUR) < 65
    assert [length for _, _, length in scale.breaks] == [5 * HOUR - 10 * SECOND]
    # No tick lies inside what is left out.
    assert scale.axis().text.split() == ["0s", "6.3s", "~4h59m", "5h00m", "5h00m"]


def test_an_idle_run_is_not_shortened_away() -> None:
    scale = Scale(0, 10 * SECOND, [], 50)
    assert scale.breaks == []
    assert scale.axis().text.split() == ["0s", "2.4s", "4.8s", "7.3s", "10.0s"]


stretches = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(sorted))


@given(stretches, st.integers(1, 10**6), st.integers(1, 200))
def test_columns_follow_time(work: list[list[int]], end: int, width: int) -> None:
    scale = Scale(0, end, [(a, b) for a, b in work], width)
    columns = [scale.column(end * at // 50) for at in range(51)]
    assert columns == sorted(columns)
    assert columns[0] == 0
    assert columns[-1] == width - 1
    assert all(0 <= scale.moment(column) <= scale.end for column in range(width))
    assert scale.axis().width <= width


def test_work_that_goes_on_reaches_to_now() -> None:
    assert list(work_of([attempt(1, 2, None), attempt(None, None, None)], 9)) == [(SECOND, 9)]
