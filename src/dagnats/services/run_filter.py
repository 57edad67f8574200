"""Which runs a typed query means, in the console and in ``run list --where``.

    wf:etl-*  status:failed,retrying  since:2h  before:1h  step:load  dur:>30s  id:2e2a  err:timeout
    worker:w1  parent:2e2a  !wf:noisy  sort:-dur  /words that must all occur

Values of one term are alternatives, terms add up, ``!`` negates; ``*`` stands for anything.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.times import parse_duration, parse_time
from dagnats.services.address import Address, Term
from dagnats.services.run_rows import RunRow

KEYS: dict[str, str] = {
    "wf": "workflow, * for anything",
    "status": "running, queued, waiting, retrying, pending, completed, failed, cancelled, active",
    "since": "started within (2h, 7d) or since a time",
    "before": "started longer ago than, or before a time",
    "step": "at this step, or failed there",
    "dur": "took >30s, <5m",
    "id": "run id begins with",
    "err": "error contains",
    "worker": "worker id begins with",
    "parent": "child of the run",
    "sort": "age, dur, wf, status, step; - for the other way",
}
"""The keys of terms, with what they mean."""

SORTS: dict[str, Callable[[RunRow, int], object]] = {
    "age": lambda row, now: -row.created_ns,
    "dur": lambda row, now: row.duration(now) or 0,
    "wf": lambda row, now: row.workflow,
    "status": lambda row, now: row.state,
    "step": lambda row, now: row.step,
}
"""Orders of a list, by name."""

Test = Callable[[RunRow, int], bool]


class RunFilter(Struct, frozen=True):
    """A query that has been understood.

    Args:
        tests: all must hold; each takes a row and the time.
        words: all must occur in the row's text.
        sort: name of the order.
        reverse: the other way round.
        timed: what is wanted changes as time passes.
    """

    tests: tuple[Test, ...] = ()
    words: tuple[str, ...] = ()
    sort: str = "age"
    reverse: bool = False
    timed: bool = False

    def accepts(self, row: RunRow, now: int) -> bool:
        """Whether a run is wanted."""
        if self.words:
            text = row.text
            if not all(word in text for word in self.words):
                return False
        return all(test(row, now) for test in self.tests)

    @property
    def everything(self) -> bool:
        """Whether it wants every run."""
        return not self.tests and not self.words


def run_filter(address: Address) -> RunFilter:
    """The filter of an address such as ``runs wf:etl-* status:failed /timeout``.

    Raises:
        InvalidError: a key or a value makes no sense.
    """
    tests: list[Test] = []
    sort, reverse = "age", False
    for term in address.terms:
        if term.key == "sort":
            sort, reverse = _sort(term)
        else:
            tests.append(_test(term))
    tests += [_test(Term(key="id", values=address.ids))] if address.ids else []
    words = tuple(address.text.lower().split())
    timed = any(term.key in ("since", "before", "dur") for term in address.terms)
    return RunFilter(tuple(tests), words, sort, reverse, timed)


def _sort(term: Term) -> tuple[str, bool]:
    name = term.values[0].removeprefix("-")
    if name not in SORTS:
        raise InvalidError(f"cannot sort by {name[:40]}", f"sort by {', '.join(SORTS)}")
    return name, term.values[0].startswith("-")


def _test(term: Term) -> Test:
    makers: dict[str, Callable[[str], Test]] = {
        "wf": _glob(lambda row: row.workflow),
        "workflow": _glob(lambda row: row.workflow),
        "status": _status,
        "step": _glob(lambda row: row.step),
        "since": lambda value: _time(value, after=True),
        "before": lambda value: _time(value, after=False),
        "dur": _duration,
        "id": _begins(lambda row: row.run_id),
        "worker": _begins(lambda row: row.worker),
        "parent": _begins(lambda row: row.parent),
        "origin": _begins(lambda row: row.origin),
        "err": _contains,
    }
    maker = makers.get(term.key)
    if maker is None:
        raise InvalidError(f"unknown filter {term.key[:40]}:", f"there are {', '.join(KEYS)}")
    options = [maker(value) for value in term.values]
    if term.negated:
        return lambda row, now: not any(option(row, now) for option in options)
    if len(options) == 1:
        return options[0]
    return lambda row, now: any(option(row, now) for option in options)


def _glob(of: Callable[[RunRow], str]) -> Callable[[str], Test]:
    def make(value: str) -> Test:
        if not any(mark in value for mark in "*?["):
            return lambda row, now: of(row) == value
        match = re.compile(fnmatch.translate(value)).match
        return lambda row, now: match(of(row)) is not None

    return make


def _begins(of: Callable[[RunRow], str]) -> Callable[[str], Test]:
    return lambda value: lambda row, now: of(row).startswith(value)


def _contains(value: str) -> Test:
    wanted = value.lower()
    return lambda row, now: wanted in row.error.lower()


def _status(value: str) -> Test:
    wanted = value.lower()
    if wanted == "active":
        return lambda row, now: not row.ended
    if wanted == "any":
        return lambda row, now: True
    return lambda row, now: wanted in (row.state, row.status)


def _time(value: str, *, after: bool) -> Test:
    try:
        age = parse_duration(value, days=True)
    except ValueError:
        return _moment(value, after=after)
    if after:
        return lambda row, now: row.created_ns >= now - age
    return lambda row, now: row.created_ns < now - age


def _moment(value: str, *, after: bool) -> Test:
    try:
        moment = parse_time(value) or 0
    except ValueError:
        hint = "write an age such as 2h or 7d, or a time such as 2026-01-15T09:00:00Z"
        raise InvalidError(f"neither an age nor a time: {value[:40]}", hint) from None
    if after:
        return lambda row, now: row.created_ns >= moment
    return lambda row, now: row.created_ns < moment


def _duration(value: str) -> Test:
    sign, text = (value[0], value[1:]) if value[:1] in ("<", ">") else (">", value)
    try:
        limit = parse_duration(text, days=True)
    except ValueError:
        raise InvalidError(f"not a duration: {value[:40]}", "write dur:>30s or dur:<5m") from None
    if sign == ">":
        return lambda row, now: (row.duration(now) or 0) > limit
    return lambda row, now: row.duration(now) is not None and (row.duration(now) or 0) < limit
