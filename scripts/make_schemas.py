"""Write ``docs/schema/workflow.json``, the JSON Schema of workflow files, from the model.

Run ``python scripts/make_schemas.py`` after changing a struct; a test fails while it is stale.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from msgspec import Struct, inspect

from dagnats.model.conditions import SKIP_OPERATORS, WAIT_OPERATORS
from dagnats.model.files import WorkflowDocument
from dagnats.model.rules.triggers import METHODS
from dagnats.model.shape import struct_info
from dagnats.model.times import DURATION
from dagnats.model.trigger import HttpTrigger, TriggerDef, WebhookTrigger
from dagnats.model.workflow import (
    CONFIG_OF,
    Match,
    RetryPolicy,
    RetryStrategy,
    Singleton,
    SkipCondition,
    StepDef,
    StepType,
)

TARGET = Path(__file__).parent.parent / "docs" / "schema" / "workflow.json"

DURATION_SCHEMA: dict[str, Any] = {
    "description": "A duration such as 30s, 1h30m or 7d, or whole nanoseconds.",
    "type": ["string", "integer"],
    "pattern": r"^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w))+)$",
    "examples": ["30s", "1h30m", "7d"],
}
VALUES: dict[tuple[type[Struct], str], list[str]] = {
    (WorkflowDocument, "sticky"): ["soft", "hard"],
    (StepDef, "type"): [kind.value for kind in StepType],
    (RetryPolicy, "strategy"): [strategy.value for strategy in RetryStrategy],
    (SkipCondition, "op"): list(SKIP_OPERATORS),
    (Match, "op"): list(WAIT_OPERATORS),
    (Singleton, "mode"): ["skip", "cancel"],
    (HttpTrigger, "method"): list(METHODS),
    (WebhookTrigger, "signature"): ["body", "timestamped"],
}
SCALARS: dict[type[inspect.Type], str] = {
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.StrType: "string",
}
REQUIRED: dict[type[Struct], list[str]] = {
    WorkflowDocument: ["name", "steps"],
    StepDef: ["id"],
    TriggerDef: ["id"],
}


class Schemas:
    """The definitions a schema refers to, made on the way."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {"Duration": DURATION_SCHEMA}

    def of(self, info: inspect.Type) -> dict[str, Any]:
        """The schema of a type."""
        match info:
            case inspect.Metadata():
                return refer("Duration") if info.extra == DURATION else self.of(info.type)
            case inspect.UnionType():
                given = [each for each in info.types if not isinstance(each, inspect.NoneType)]
                return self.of(given[0]) if len(given) == 1 else {"type": "number"}
            case inspect.ListType():
                return {"type": "array", "items": self.of(info.item_type)}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self.of(info.value_type)}
            case inspect.StructType():
                return self.refer_to(info.cls)
            case _:
                name = SCALARS.get(type(info))
                return {"type": name} if name else {}

    def refer_to(self, kind: type[Struct]) -> dict[str, Any]:
        """A reference to the schema of a struct, which is made when it is met first."""
        if kind.__name__ not in self.definitions:
            self.definitions[kind.__name__] = {}
            self.definitions[kind.__name__] = self.struct(kind)
        return refer(kind.__name__)

    def struct(self, kind: type[Struct]) -> dict[str, Any]:
        """The schema of a struct: its fields and no others."""
        properties: dict[str, Any] = {}
        for field in struct_info(kind).fields:
            properties[field.encode_name] = self.of(field.type)
            if allowed := VALUES.get((kind, field.name)):
                properties[field.encode_name]["enum"] = allowed
        schema: dict[str, Any] = {
            "description": plain(kind.__doc__ or ""),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        if kind in REQUIRED:
            schema["required"] = REQUIRED[kind]
        if kind is StepDef:
            schema["allOf"] = [self.config(name, config) for name, config in CONFIG_OF.items()]
        return schema

    def config(self, name: str, config: type[Struct]) -> dict[str, Any]:
        """What ``config`` may hold in a step of one type."""
        return {
            "if": {"properties": {"type": {"const": str(name)}}, "required": ["type"]},
            "then": {"properties": {"config": self.refer_to(config)}},
        }


def refer(name: str) -> dict[str, Any]:
    """A reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def plain(docstring: str) -> str:
    """A docstring as one line of plain text."""
    return re.sub(r"\s+", " ", docstring.replace("``", "")).strip()


def workflow_schema() -> dict[str, Any]:
    """The JSON Schema of workflow files."""
    schemas = Schemas()
    top = schemas.struct(WorkflowDocument)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "DagNats workflow file",
        **top,
        "$defs": dict(sorted(schemas.definitions.items())),
    }


def text() -> str:
    """The file as it should be."""
    return json.dumps(workflow_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
