"""The published schemas are those of the commands there are."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from dagnats.cli import COMMANDS
from dagnats.cli.execute import load
from tests.cli import schemas


def leaves() -> list[str]:
    """Every command, by its words."""
    found: list[str] = []
    for word in COMMANDS:
        inner: dict[str, Any] = getattr(load(word), "commands", {})
        found += [f"{word} {name}" for name in inner] or [word]
    return found


def test_they_are_current() -> None:
    made = schemas.script().texts()
    there = {path.name: path.read_text(encoding="utf-8") for path in schemas.FOLDER.glob("*.json")}
    assert there == made, "run scripts/make_output_schemas.py"


def test_every_command_has_one() -> None:
    script = schemas.script()
    assert set(leaves()) == set(script.OUTPUTS) | script.WITHOUT


def test_they_are_schemas() -> None:
    for name, schema in schemas.script().schemas().items():
        jsonschema_rs.validator_for(schema)
        assert schema["title"].startswith(("dagnats ", "any command ")), name


def test_the_check_is_strict() -> None:
    assert schemas.problem_with("run count", '{"count":1}') is None
    assert schemas.problem_with("run count", '{"count":1,"more":2}')
    assert schemas.problem_with("run count", "{}")
