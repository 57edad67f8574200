from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.times import (
    DAY,
    HOUR,
    MILLISECOND,
    MINUTE,
    SECOND,
    ZERO_TIME,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
    read_time,
)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (1_500_000, "1.5ms"),
        (SECOND, "1s"),
        (2_500 * MILLISECOND, "2.5s"),
        (90 * SECOND, "1m30s"),
        (30 * MINUTE, "30m0s"),
        (HOUR, "1h0m0s"),
        (365 * DAY, "8760h0m0s"),
        (-MINUTE, "-1m0s"),
        (-1, "-1ns"),
        ((1 << 63) - 1, "2562047h47m16.854775807s"),
    ],
)
def test_durations_both_ways(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text
    assert parse_duration(text) == nanoseconds


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_duration_reads_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("+5s", 5 * SECOND), (".5s", SECOND // 2), ("1.s", SECOND), ("1us", 1000),
     ("1μs", 1000), ("1h1h", 2 * HOUR)],
)  # fmt: skip
def test_other_spellings_of_go(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10", 'time: missing unit in duration "10"'),
        ("1h30", 'time: missing unit in duration "1h30"'),
        ("7d", 'time: unknown unit "d" in duration "7d"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("P1D", 'time: invalid duration "P1D"'),
        ("1 h", 'time: missing unit in duration "1 h"'),
        (".s", 'time: invalid duration ".s"'),
        ("9999999999h", 'time: invalid duration "9999999999h"'),
    ],
)
def test_bad_durations_have_the_words_of_go(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == message


def test_days_and_weeks_in_files() -> None:
    assert parse_duration("1w2d", days=True) == 9 * DAY


@given(st.text(max_size=12) | st.text("0123456789.hmsdnµ+-", max_size=12))
def test_no_text_breaks_the_duration_reader(text: str) -> None:
    try:
        assert isinstance(parse_duration(text, days=True), int)
    except ValueError as error:
        assert str(error).startswith("time: ")  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-03-01T10:00:00.25Z", 1_772_359_200_250_000_000),
        ("2026-03-01T12:00:00.123456789+02:00", 1_772_359_200_123_456_789),
        ("2026-03-01T04:30:00-05:30", 1_772_359_200_000_000_000),
    ],
)
def test_times_are_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds


@pytest.mark.parametrize("text", [ZERO_TIME, "0001-01-01T01:00:00+01:00", "0000-01-01T00:00:00Z"])
def test_the_year_one_is_unset(text: str) -> None:
    assert parse_time(text) is None
    assert read_time(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-03-01", "2026-03-01T10:00:00", "2026-03-01 10:00:00Z",
        "2026-02-30T10:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T10:00:60Z",
        "2026-03-01T10:00:00+25:00",
        "2026-03-01T10:00:00+01:60", "10000-01-01T00:00:00Z", "2026-03-01T10:00:00.Z",
        "٢٠٢٦-03-01T10:00:00Z", "2026-03-01T10:00:00Z\n", "x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="not an RFC 3339 time") as caught:
        parse_time(text)
    assert len(str(caught.value)) < 200
    assert read_time(text) is None


@given(st.integers(parse_time("0002-01-01T00:00:00Z"), parse_time("9999-12-31T23:59:59Z")))  # type: ignore[arg-type]
def test_every_time_reads_back(nanoseconds: int) -> None:
    assert parse_time(format_time(nanoseconds)) == nanoseconds


def test_times_are_written_as_go_writes_them() -> None:
    assert format_time(0) == "1970-01-01T00:00:00Z"
    assert format_time(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert format_time(120_000_000) == "1970-01-01T00:00:00.12Z"
    assert format_time(parse_time("0987-01-01T00:00:00Z") or 0) == "0987-01-01T00:00:00Z"
