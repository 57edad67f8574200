from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.runtime.triggers.coverage import matches, overlap, parts

CASES = [
    ("orders.>", "orders.>", "orders.>"),
    ("orders.>", "orders.eu.>", "orders.eu.>"),
    ("orders.*", "orders.>", "orders.*"),
    ("orders.*.new", "orders.eu.*", "orders.eu.new"),
    ("*.eu.>", "orders.>", "orders.eu.>"),
    ("orders.*", "orders.eu.new", ""),
    ("orders", "orders.>", ""),
    ("orders.>", "orders", ""),
    ("a.b", "a.c", ""),
    ("a", "a", "a"),
]


@pytest.mark.parametrize(("one", "other", "common"), CASES)
def test_overlap(one: str, other: str, common: str) -> None:
    assert overlap(one, other) == common
    assert overlap(other, one) == common


def test_parts_of_a_stream() -> None:
    assert parts("orders.>", ["orders.eu.*", "invoices.>", "orders.us"]) == [
        "orders.eu.*",
        "orders.us",
    ]


TOKEN = st.sampled_from(["a", "b", "*"])
PATTERN = st.builds(
    lambda tokens, tail: ".".join([*tokens, *tail]),
    st.lists(TOKEN, min_size=1, max_size=3),
    st.sampled_from([[], [">"]]),
)
SUBJECT = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map(".".join)


@given(PATTERN, PATTERN, SUBJECT)
def test_what_matches_both_matches_the_overlap(one: str, other: str, subject: str) -> None:
    both = _slow(one, subject) and _slow(other, subject)
    common = overlap(one, other)
    assert both == (bool(common) and matches(common, subject))


def _slow(pattern: str, subject: str) -> bool:
    want, have = pattern.split("."), subject.split(".")
    if want[-1] == ">":
        head = want[:-1]
        if len(have) < len(want):
            return False
        have = have[: len(head)]
    else:
        head = want
    return len(head) == len(have) and all(a in ("*", b) for a, b in zip(head, have, strict=True))
