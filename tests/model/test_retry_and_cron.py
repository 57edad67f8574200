from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.cron import cron_problem, next_fires, zone_problem
from dagnats.model.retry import DELAY_MAX, DELAY_MIN, delay_ns, policy_for
from dagnats.model.times import HOUR, MILLISECOND, SECOND, format_time, parse_time
from dagnats.model.workflow import RetryPolicy, RetryStrategy, StepDef, WorkflowDef


def test_the_nearest_policy_is_in_force() -> None:
    own, default = RetryPolicy(max_attempts=1), RetryPolicy(max_attempts=2)
    workflow = WorkflowDef(default_retry=default)
    assert policy_for(StepDef(retry=own, retries=9), workflow) is own
    assert policy_for(StepDef(retries=9), workflow) is default
    legacy = policy_for(StepDef(retries=9), WorkflowDef())
    assert legacy == RetryPolicy(max_attempts=9, strategy="fixed", initial_delay=5 * SECOND)
    assert policy_for(StepDef(), WorkflowDef()) is None


@pytest.mark.parametrize(
    ("strategy", "multiplier", "seconds"),
    [
        ("fixed", 3, [2, 2, 2, 2]),
        ("unheard-of", 3, [2, 2, 2, 2]),
        ("linear", 3, [2, 4, 6, 8]),
        ("exponential", 3, [2, 6, 18, 54]),
        ("exponential", 1.5, [2, 3, 4.5, 6.75]),
        ("exponential", 0, [2, 4, 8, 16]),
        ("exponential", 0.5, [2, 1, 0.5, 0.25]),
    ],
)
def test_strategies(strategy: str, multiplier: float, seconds: list[float]) -> None:
    policy = RetryPolicy(strategy=strategy, initial_delay=2 * SECOND, multiplier=multiplier)
    assert [delay_ns(policy, retry, 0.5) / SECOND for retry in (1, 2, 3, 4)] == seconds


def test_delays_are_capped_and_clamped() -> None:
    capped = RetryPolicy(strategy="linear", initial_delay=SECOND, max_delay=3 * SECOND)
    assert delay_ns(capped, 9, 0) == 3 * SECOND
    assert delay_ns(RetryPolicy(initial_delay=2 * HOUR), 1, 0) == DELAY_MAX == HOUR
    assert delay_ns(RetryPolicy(), 1, 0) == DELAY_MIN == MILLISECOND


def test_slow_growth_does_not_stop_early() -> None:
    policy = RetryPolicy(strategy="exponential", initial_delay=MILLISECOND, multiplier=1.1)
    assert delay_ns(policy, 120, 0) > 80 * SECOND


def test_jitter_shortens_by_its_share() -> None:
    policy = RetryPolicy(initial_delay=10 * SECOND, jitter=0.5)
    assert delay_ns(policy, 1, 0) == 10 * SECOND
    assert delay_ns(policy, 1, 1) == 5 * SECOND


@given(
    st.sampled_from(RetryStrategy),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.floats(0, 1e308) | st.integers(0, 10**400),
    st.integers(1, 100_000),
    st.floats(0, 1),
)
def test_every_delay_is_in_bounds(
    strategy: str, initial: int, cap: int, multiplier: float, retry: int, unit: float
) -> None:
    policy = RetryPolicy(
        strategy=strategy, initial_delay=initial, max_delay=cap, multiplier=multiplier, jitter=1
    )
    assert DELAY_MIN <= delay_ns(policy, retry, unit) <= DELAY_MAX


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 0-23 1,15 * *",
        "0 9 * * mon-fri",
        "0 0 * jan,DEC *",
        "1-59/2 * * * *",
        "0 0 * * 7",
        "0 0 L * *",
        "*/10 * * * * *",
        "@daily",
        "@hourly",
        "@yearly",
        "0 0 30 2 *",
    ],
)
def test_good_expressions(expression: str) -> None:
    assert cron_problem(expression) == ""


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("", "must not be empty"),
        ("   ", "must not be empty"),
        ("* " * 200, "400 characters (max 256)"),
        ("* * * *", "got 4"),
        ("* * * * * * *", "got 7"),
        ("60 * * * *", "out of range"),
        ("*/0 * * * *", "step '0'"),
        ("1,,2 * * * *", "not acceptable"),
        ("@every -1s", "unknown macro"),
        ("@reboot", "unknown macro"),
        ("H * * * *", "not a cron expression"),
        ("r * * * *", "not a cron expression"),
        ("* * * * *\x00", "not a cron expression"),
        ("٣ * * * *", "not a cron expression"),
        ("a b c d e", "not acceptable"),
        ("99999999999999999999 * * * *", "out of range"),
    ],
)
def test_bad_expressions_are_explained(expression: str, part: str) -> None:
    assert part in cron_problem(expression)


@given(st.text(max_size=40) | st.text("0123456789*/,-?#LHRW @", max_size=30))
def test_no_text_breaks_the_cron_rules(expression: str) -> None:
    if cron_problem(expression) == "":
        assert len(next_fires(expression, "Europe/Berlin", 0, 2)) <= 2


@pytest.mark.parametrize("name", ["", "UTC", "Europe/Berlin", "Pacific/Apia"])
def test_zones_that_exist(name: str) -> None:
    assert zone_problem(name) == ""


@pytest.mark.parametrize(
    "name", ["America/Nowhere", "America", "../etc/passwd", "/etc/passwd", "a\x00b", "x" * 5000]
)
def test_zones_that_do_not_exist(name: str) -> None:
    assert "is not a valid timezone" in zone_problem(name)


def fires(expression: str, zone: str, after: str, count: int) -> list[str]:
    start = parse_time(after)
    assert start is not None
    return [format_time(instant) for instant in next_fires(expression, zone, start, count)]


def test_fires_lie_strictly_after_the_start() -> None:
    assert fires("0 9 * * *", "", "2026-01-01T09:00:00Z", 2) == [
        "2026-01-02T09:00:00Z",
        "2026-01-03T09:00:00Z",
    ]
    assert fires("* * * * *", "", "2026-01-01T08:59:59.5Z", 1) == ["2026-01-01T09:00:00Z"]


def test_a_skipped_time_fires_once_when_the_clock_goes_on() -> None:
    assert fires("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2) == [
        "2026-03-29T01:00:00Z",
        "2026-03-30T00:00:00Z",
    ]
    assert fires("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2) == [
        "2026-03-29T01:00:00Z",
        "2026-03-30T00:00:00Z",
    ]


def test_a_repeated_time_fires_once() -> None:
    assert fires("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2) == [
        "2026-10-25T00:30:00Z",
        "2026-10-26T01:30:00Z",
    ]
    assert fires("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", 1) == [
        "2026-10-26T01:30:00Z"
    ]


def test_every_hour_means_every_hour_on_the_days_of_change() -> None:
    assert fires("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 3) == [
        "2026-10-25T00:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-10-25T02:00:00Z",
    ]
    assert fires("0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 2) == [
        "2026-03-29T01:00:00Z",
        "2026-03-29T02:00:00Z",
    ]


def test_both_day_fields_mean_either_day() -> None:
    assert fires("0 0 13 * fri", "", "2026-02-01T00:00:00Z", 3) == [
        "2026-02-06T00:00:00Z",
        "2026-02-13T00:00:00Z",
        "2026-02-20T00:00:00Z",
    ]


def test_what_never_comes_has_no_times() -> None:
    assert fires("0 0 30 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", 5) == []
    assert fires("* * 30 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", 5) == []
    assert fires("0 0 1 1 *", "", "9997-06-01T00:00:00Z", 5) == ["9998-01-01T00:00:00Z"]


def test_a_leap_day_is_found_however_far() -> None:
    assert fires("0 0 29 2 *", "", "2097-01-01T00:00:00Z", 2) == [
        "2104-02-29T00:00:00Z",
        "2108-02-29T00:00:00Z",
    ]


def test_seconds_come_first() -> None:
    assert fires("*/20 * * * * *", "", "2026-01-01T00:00:00Z", 3) == [
        "2026-01-01T00:00:20Z",
        "2026-01-01T00:00:40Z",
        "2026-01-01T00:01:00Z",
    ]


@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from(["*/15 * * * *", "7 3 * * *", "0 0 * * 1", "15 1,2,3 * * *"]),
    st.integers(0, 4_000_000_000),
)
def test_asking_one_by_one_gives_what_asking_for_many_gives(
    zone: str, expression: str, start: int
) -> None:
    many = next_fires(expression, zone, start * SECOND, 5)
    assert many == sorted(set(many))
    one_by_one: list[int] = []
    for _ in range(5):
        one_by_one += next_fires(
            expression, zone, one_by_one[-1] if one_by_one else start * SECOND, 1
        )
    assert one_by_one == many
