from __future__ import annotations

import pytest

from dagnats.errors import InvalidError
from dagnats.services.address import Address, Term, format_address, parse_address


def test_every_part_of_an_address_is_read() -> None:
    assert parse_address(":runs 2e2a wf:etl-* !status:failed,retrying /http 503") == Address(
        kind="runs",
        ids=("2e2a",),
        terms=(
            Term(key="wf", values=("etl-*",)),
            Term(key="status", values=("failed", "retrying"), negated=True),
        ),
        text="http 503",
    )


@pytest.mark.parametrize(
    "line",
    [
        "home",
        "diff A B",
        "run 2e2a step:types at:13",
        'flow "a: b" by:"x y"',
        "logs /a:b /c",
        'flow "a /b" wf:"x /y" /z "open',
    ],
)
def test_an_address_reads_back(line: str) -> None:
    assert format_address(parse_address(line)) == line


@pytest.mark.parametrize("line", ["", " : ", 'runs "wf', "runs wf:", "runs :x", "x" * 2_001])
def test_a_broken_address_is_refused(line: str) -> None:
    with pytest.raises(InvalidError):
        parse_address(line)
