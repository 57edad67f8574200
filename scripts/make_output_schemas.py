"""Write ``docs/schema/output``: a JSON Schema of what every command prints with ``--json``.

Run ``python scripts/make_output_schemas.py`` after changing what a command prints; a test fails
while the files are stale, and every JSON that a test of the command line sees is checked against
them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct, inspect

from dagnats.cli import outputs, reports
from dagnats.cli.errors import Failure
from dagnats.cli.scaffold import Project, WorkflowScaffold
from dagnats.model.records import DeadLetter, LogRecord, ScheduledRun, WorkerRegistration
from dagnats.model.run import WorkflowRun
from dagnats.model.times import DURATION
from dagnats.model.trigger import TriggerDef
from dagnats.model.workflow import StepDef, WorkflowDef
from dagnats.server.dryrun import Finding
from dagnats.server.progress import Listening
from dagnats.server.settings import KEYS
from dagnats.services.cleaning import CleanPlan
from dagnats.services.control import PauseState
from dagnats.services.dlq import Discarded
from dagnats.services.doctor.findings import Report
from dagnats.services.documents import SECRET
from dagnats.services.events import PublishedEvent
from dagnats.services.run_diff import RunDiff
from dagnats.services.run_events import RunEvent
from dagnats.services.run_steps import Decided, Overridden
from dagnats.services.run_trace import SpanRow
from dagnats.services.runs import Retried, Signalled, Started
from dagnats.services.singletons import ReleasedLock, SingletonRow
from dagnats.services.status import Status, StatusDetail
from dagnats.services.timeline import Simulation
from dagnats.services.trigger_fires import Fired, FireRow
from dagnats.services.workers import WorkerDetail
from dagnats.services.workflows import Deleted, Registered, Revision
from dagnats.verify.verdict import Verdict

TARGET = Path(__file__).parent.parent / "docs" / "schema" / "output"
DRAFT = "https://json-schema.org/draft/2020-12/schema"

OUTPUTS: dict[str, tuple[Any, ...]] = {
    "workflow list": (list[WorkflowDef],),
    "workflow register": (Registered,),
    "workflow show": (WorkflowDef,),
    "workflow validate": (outputs.Validity,),
    "workflow revisions": (list[Revision],),
    "workflow simulate": (Simulation,),
    "workflow delete": (Deleted,),
    "run start": (Started, RunEvent, outputs.Outputs),
    "run watch": (RunEvent, outputs.Outputs),
    "run list": (list[WorkflowRun], list[ScheduledRun]),
    "run status": (WorkflowRun, ScheduledRun),
    "run inspect": (reports.Inspected,),
    "run events": (list[RunEvent],),
    "run output": (outputs.Outputs,),
    "run count": (outputs.Count,),
    "run cancel": (outputs.CancelledRun,),
    "run retry": (Retried,),
    "run rerun": (Retried, reports.Plan),
    "run signal": (Signalled,),
    "run approve": (Decided,),
    "run reject": (Decided,),
    "run bulk": (reports.StartedRuns,),
    "run cancel-all": (outputs.CancelledRuns,),
    "run retry-all": (reports.RetriedRuns,),
    "run show": (WorkflowRun,),
    "run why": (reports.Why,),
    "run trace": (list[SpanRow],),
    "run diff": (RunDiff,),
    "step complete": (Overridden,),
    "step fail": (Overridden,),
    "step skip": (Overridden,),
    "step retry": (Overridden,),
    "step cancel": (Overridden,),
    "trigger create": (outputs.TriggerMade,),
    "trigger list": (list[TriggerDef],),
    "trigger update": (outputs.TriggerChanged,),
    "trigger delete": (outputs.TriggerChanged,),
    "trigger enable": (outputs.TriggerChanged,),
    "trigger disable": (outputs.TriggerChanged,),
    "trigger fire": (Fired,),
    "trigger history": (list[FireRow],),
    "trigger test": (outputs.CronChecked,),
    "event publish": (PublishedEvent,),
    "dlq list": (list[DeadLetter],),
    "dlq show": (DeadLetter,),
    "dlq replay": (outputs.ReplayedLetter, reports.ReplayedLetters),
    "dlq watch": (outputs.ReplayAction, outputs.ReplayTotals),
    "dlq discard": (Discarded,),
    "workers list": (list[WorkerRegistration],),
    "workers show": (WorkerDetail,),
    "singleton list": (list[SingletonRow],),
    "singleton release": (ReleasedLock,),
    "engine pause": (PauseState,),
    "engine resume": (PauseState,),
    "engine status": (PauseState,),
    "doctor": (Report,),
    "verify": (Verdict,),
    "serve": (Listening, "dry run"),
    "status": ("status",),
    "logs": (LogRecord,),
    "clean": (outputs.Purged, CleanPlan),
    "config show": ("configuration",),
    "init project": (Project,),
    "init workflow": (WorkflowScaffold,),
    "dev": (outputs.DevLine,),
    "completion": (outputs.Script,),
}
"""Command to the documents it may print; a string names one that a method here describes."""

LINES = frozenset({"run start", "run watch", "dlq watch", "serve", "logs", "dev"})
"""Commands that print a document a line, as things happen."""

WITHOUT = frozenset({"demo", "ui"})
"""Commands that print the output of others, or draw a screen."""

_SCALARS: dict[type[inspect.Type], str] = {
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.StrType: "string",
    inspect.NoneType: "null",
}


class Describer:
    """The schemas of types as ``services.documents.document`` presents their values."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def alternative(self, kind: Any) -> dict[str, Any]:
        """The schema of one of the documents of a command."""
        made = {
            "status": self.status,
            "configuration": self.configuration,
            "dry run": self.dry_run,
        }
        return made[kind]() if isinstance(kind, str) else self.of(inspect.type_info(kind))

    def of(self, info: inspect.Type) -> dict[str, Any]:
        """The schema of a type."""
        match info:
            case inspect.Metadata():
                return {"type": "string"} if info.extra == DURATION else self.of(info.type)
            case inspect.UnionType():
                return {"anyOf": [self.of(each) for each in info.types]}
            case inspect.ListType() | inspect.VarTupleType():
                return {"type": "array", "items": self.of(info.item_type)}
            case inspect.TupleType():
                return {"type": "array", "prefixItems": [self.of(each) for each in info.item_types]}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self.of(info.value_type)}
            case inspect.EnumType():
                return {"enum": [member.value for member in info.cls]}
            case inspect.StructType():
                return self.refer_to(info.cls)
            case _:
                name = _SCALARS.get(type(info))
                return {"type": name} if name else {}

    def refer_to(self, kind: type[Struct]) -> dict[str, Any]:
        """A reference to the schema of a struct, which is made when it is met first."""
        name = kind.__name__
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.struct(kind)
        return {"$ref": f"#/$defs/{name}"}

    def struct(self, kind: type[Struct]) -> dict[str, Any]:
        """The schema of a struct."""
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        fields = [field for field in info.fields if field.name not in SECRET]
        properties = {field.encode_name: self.field(kind, field) for field in fields}
        needed = [field.encode_name for field in fields if _always_there(kind, field)]
        return _object(properties, needed, kind.__doc__ or "")

    def field(self, kind: type[Struct], field: inspect.Field) -> dict[str, Any]:
        """The schema of a field; a step's config has its own shape for every type of step."""
        if kind is StepDef and field.name == "config":
            return {}
        return self.of(field.type)

    def status(self) -> dict[str, Any]:
        """``status``: what ``--detail`` adds lies on the top level."""
        made, detail = self.struct(Status), self.struct(StatusDetail)
        properties: dict[str, Any] = made["properties"]
        for name in ("engine", "detail"):
            del properties[name]
        needed = [name for name in made["required"] if name in properties]
        properties |= {"engine_state": {"type": "string"}, **detail["properties"]}
        return _object(properties, [*needed, "engine_state"], Status.__doc__ or "")

    def configuration(self) -> dict[str, Any]:
        """``config show``: a key for every setting, and where each comes from."""
        keys = [key.name for key in KEYS]
        properties: dict[str, Any] = {name: {} for name in keys}
        properties |= {
            "workers": {"type": "array", "items": {"type": "object"}},
            "config_file": {"type": ["string", "null"]},
            "sources": {"type": "object", "additionalProperties": {"type": "string"}},
        }
        return _object(properties, list(properties), "The effective configuration.")

    def dry_run(self) -> dict[str, Any]:
        """``serve --dry-run``."""
        properties: dict[str, Any] = {
            "valid": {"type": "boolean"},
            "checks": {"type": "array", "items": self.refer_to(Finding)},
            "config": {"anyOf": [self.configuration(), {"type": "null"}]},
        }
        return _object(properties, list(properties), "Whether the configuration would do.")


def _always_there(kind: type[Struct], field: inspect.Field) -> bool:
    """Whether documents leave the field in whatever it holds; see ``documents``."""
    if isinstance(field.type, inspect.RawType) or field.default is msgspec.UNSET:
        return False
    if isinstance(field.default, Raw):
        return False
    if not kind.__struct_config__.omit_defaults:
        return True
    if field.default_factory in (list, dict):
        return False
    # A factory other than these is how the model marks what is always written.
    return field.default is msgspec.NODEFAULT


def _object(properties: dict[str, Any], needed: list[str], text: str) -> dict[str, Any]:
    head, _, arguments = text.replace("``", "").partition("Args:")
    for names, said in _ARGUMENT.findall(arguments):
        for name in names.split(", "):
            if name in properties:
                properties[name] = {"description": _line(said), **properties[name]}
    described = {"description": _line(head)} if head.strip() else {}
    shape = {"type": "object", "properties": properties, "required": needed}
    return {**described, **shape}


_ARGUMENT = re.compile(r"^ {8}(\w+(?:, \w+)*): (.*(?:\n {9,}.*)*)", re.MULTILINE)
"""An entry under "Args:" of a docstring: the names, and what is said of them."""


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def schema_of(title: str, kinds: tuple[Any, ...]) -> dict[str, Any]:
    """The schema of a document that is one of these."""
    describer = Describer()
    found = [describer.alternative(kind) for kind in kinds]
    top = found[0] if len(found) == 1 else {"anyOf": found}
    definitions = dict(sorted(describer.definitions.items()))
    made = {"$schema": DRAFT, "title": title, **top}
    return made | {"$defs": definitions} if definitions else made


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by the name of its file."""
    found = {"error": schema_of("any command of dagnats that fails, with --json", (Failure,))}
    for command, kinds in OUTPUTS.items():
        each = ", each line" if command in LINES else ""
        title = f"dagnats {command} --json{each}"
        found[command.replace(" ", "-")] = schema_of(title, kinds)
    return found


def texts() -> dict[str, str]:
    """The files as they should be, by name."""
    return {
        f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }


def main() -> None:
    """Write the files, and remove those of commands that are gone."""
    TARGET.mkdir(exist_ok=True)
    made = texts()
    for path in TARGET.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
