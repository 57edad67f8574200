"""The published schemas of what commands print, and whether a real output fits its own.

They are checked strictly: what is printed and not described is a fault of the description.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "schema" / "output"
FORMATS = ("--json", "--output-format=json", "-ojson")


@cache
def script() -> ModuleType:
    """``scripts/make_output_schemas.py``."""
    path = ROOT / "scripts" / "make_output_schemas.py"
    spec = importlib.util.spec_from_file_location("make_output_schemas", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wants_json(argv: tuple[str, ...]) -> bool:
    """Whether a command line asks for JSON."""
    pairs = pairwise(argv)
    return any(word in FORMATS for word in argv) or ("-o", "json") in pairs


def check(argv: tuple[str, ...], out: str) -> None:
    """Check what a command line printed, if there is a schema for it."""
    name = command_of(argv)
    if name is None or not out.strip():
        return
    documents = out.splitlines() if name in script().LINES else [out]
    for text in documents:
        failed = text.startswith('{"error":{')
        problem = problem_with("error" if failed else name, text)
        assert problem is None, f"{' '.join(argv)}\n{problem}\n{text}"


def command_of(argv: tuple[str, ...]) -> str | None:
    """The command that a line calls, in the words of the script."""
    words = [word for word in argv if not word.startswith("-")]
    for count in (2, 1):
        name = " ".join(words[:count])
        if len(words) >= count and name in script().OUTPUTS:
            return name
    return {"config": "config show", "init": "init project"}.get(words[0] if words else "")


def problem_with(name: str, text: str) -> str | None:
    """What is wrong with a document, if anything."""
    try:
        _validator(name.replace(" ", "-")).validate(json.loads(text))
    except jsonschema_rs.ValidationError as error:
        return f"{error.message} at {error.instance_path}"
    return None


@cache
def _validator(name: str) -> Any:
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema_rs.validator_for(_closed(schema))


def _closed(schema: Any) -> Any:
    """The schema with objects that have no other properties than those it names."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "required" in schema:
        closed["additionalProperties"] = False
    return closed
