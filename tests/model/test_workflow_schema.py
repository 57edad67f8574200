from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dagnats.model.codec import encode
from dagnats.model.files import read_workflow
from dagnats.model.schema import check_schema

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schema" / "workflow.json"
STEP: dict[str, Any] = {"id": "a", "task": "t"}
BASE: dict[str, Any] = {"name": "w", "steps": [STEP]}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", ROOT / "scripts" / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problems(document: Any) -> list[str]:
    return check_schema(SCHEMA.read_bytes(), json.dumps(document).encode())


def test_the_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == script().text(), "run scripts/make_schemas.py"


@pytest.mark.parametrize(
    "document",
    [
        BASE,
        BASE | {"$schema": "x", "timeout": "30m", "input_schema": {"type": "object"}},
        BASE | {"timeout": 5, "triggers": [{"id": "t", "cron": {"expression": "@daily"}}]},
        BASE | {"steps": [STEP, STEP | {"id": "b", "type": "map", "config": {"max_items": 3}}]},
        BASE | {"steps": [STEP | {"type": "sleep", "config": {"duration": "1w2d3h4m5.5s"}}]},
        BASE | {"steps": [STEP | {"config": {"anything": [1]}, "retry": {"multiplier": 1.5}}]},
    ],
)
def test_what_the_reader_takes_the_schema_takes(document: dict[str, Any]) -> None:
    assert problems(document) == []
    assert problems(json.loads(encode(read_workflow(json.dumps(document)).definition))) == []


REFUSED: list[Any] = [
    {},
    [],
    BASE | {"nmae": 1},
    BASE | {"timeout": "1h30"},
    BASE | {"timeout": 1.5},
    BASE | {"steps": [{}]},
    BASE | {"steps": [STEP | {"tsk": 1}]},
    BASE | {"steps": [STEP | {"type": "fancy"}]},
    BASE | {"steps": [STEP | {"type": "map", "config": {"max_item": 3}}]},
    BASE | {"steps": [STEP | {"retry": {"strategy": "random"}}]},
    BASE | {"trigger": []},
]


@pytest.mark.parametrize("document", REFUSED)
def test_what_the_schema_refuses(document: Any) -> None:
    assert problems(document) != []
