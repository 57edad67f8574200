"""The parts of ``dagnats.yaml`` that are no settings: workflows, triggers, policy.

A file is taken whole or not at all; what is wrong is told with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.document import describe, tree_problems
from dagnats.model.files import WorkflowFile, workflow_of
from dagnats.model.policy import Policy, policy_problems
from dagnats.model.problems import quote
from dagnats.model.shape import read_shape
from dagnats.model.trigger import TriggerDef, trigger_route
from dagnats.model.validate import validate_trigger
from dagnats.server import yamlfile
from dagnats.server.yamlfile import Document

MAX_ENTRIES = 500
"""Workflows and triggers of a file together (``engine.md`` CFG-1)."""

HTTP_DEFAULTS = {"timeout_ms": 30_000, "max_body_bytes": 1 << 20}
"""What an HTTP trigger of the file gets if it does not say (``wire.md`` 7.8)."""

_UNKNOWN = re.compile(r'unknown field "([^"]+)"')


class Sections(Struct, frozen=True, kw_only=True):
    """What a file says, checked.

    Args:
        source: under which triggers are known to come from it: ``file:<name>``.
        workflows: to be registered.
        triggers: all of them, those inside of workflows included.
        policy: ``None``: the file has no such section.
    """

    source: str
    workflows: list[WorkflowFile]
    triggers: list[TriggerDef]
    policy: Policy | None


class _Reader:
    """One pass over the sections; problems are collected with their lines."""

    def __init__(self, path: Path, document: Document) -> None:
        self.path = path
        self.document = document
        self.source = f"file:{path.name}"
        self.problems: list[tuple[int, str]] = []

    def wrong(self, where: str, text: str) -> None:
        """Note a problem."""
        found = _UNKNOWN.search(text)
        inner = f"{where}.{found.group(1)}" if found else where
        self.problems.append((self.document.line_of(inner), f"{where}: {text}"))

    def wrong_inside(self, where: str, error: InvalidError) -> None:
        """Note the problems of one entry; each names its place within it."""
        for text in error.problems:
            inner, colon, rest = text.partition(": ")
            if colon and f"{where}.{inner}" in self.document.lines:
                self.wrong(f"{where}.{inner}", rest)
            else:
                self.wrong(where, text)

    def entries(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The mappings of a section that is a list, each with its path."""
        section = self.document.values.get(name)
        if section is None:
            return
        if not isinstance(section, list):
            self.wrong(name, f"expected a list, got {describe(section)}")
            return
        for index, entry in enumerate(cast("list[Any]", section)):
            where = f"{name}[{index}]"
            if isinstance(entry, dict):
                yield where, cast("dict[str, Any]", entry)
            else:
                self.wrong(where, f"expected a mapping, got {describe(entry)}")

    def workflows(self) -> dict[str, WorkflowFile]:
        """The workflows by the path of their entry."""
        found: dict[str, WorkflowFile] = {}
        for where, entry in self.entries("workflows"):
            inner = {**entry}
            if isinstance(entry.get("triggers"), list):
                inner["triggers"] = [_completed(one) for one in entry["triggers"]]
            try:
                file = workflow_of(inner)
            except InvalidError as error:
                self.wrong_inside(where, error)
                continue
            for problem in file.problems:
                self.wrong(f"{where}.{problem.path}" if problem.path else where, problem.text)
            found[where] = file
        return found

    def triggers(self) -> dict[str, TriggerDef]:
        """The triggers of their own section by the path of their entry."""
        found: dict[str, TriggerDef] = {}
        for where, entry in self.entries("triggers"):
            try:
                trigger = read_shape(_completed(entry), TriggerDef)
            except InvalidError as error:
                self.wrong_inside(where, error)
                continue
            for problem in validate_trigger(trigger):
                self.wrong(where, problem.text)
            found[where] = trigger
        return found

    def policy(self) -> Policy | None:
        """The policy, if there is one."""
        section = self.document.values.get("policy")
        if section is None:
            return None
        try:
            policy = read_shape(section, Policy)
        except InvalidError as error:
            self.wrong_inside("policy", error)
            return None
        for problem in policy_problems(policy):
            self.wrong(f"policy.{problem.path}", problem.text)
        return policy


def read_sections(path: Path) -> Sections:
    """The sections of a file.

    Raises:
        InvalidError: naming every problem as ``file:line: place: what``.
        DagnatsError: the file cannot be read.
    """
    document = yamlfile.read(path)
    reader = _Reader(path, document)
    kept = {key: document.values.get(key) for key in ("workflows", "triggers", "policy")}
    for problem in tree_problems(kept):
        reader.wrong(problem.path, problem.text)
    if reader.problems:
        raise _refused(reader)
    workflows, triggers = reader.workflows(), reader.triggers()
    policy = reader.policy()
    everything = {
        **{
            f"{where}.triggers[{index}]": trigger
            for where, file in workflows.items()
            for index, trigger in enumerate(file.triggers)
        },
        **triggers,
    }
    _check_together(reader, workflows, everything)
    if reader.problems:
        raise _refused(reader)
    return Sections(
        source=reader.source,
        workflows=list(workflows.values()),
        triggers=[msgspec.structs.replace(t, source=reader.source) for t in everything.values()],
        policy=policy,
    )


def _completed(entry: Any) -> Any:
    """A trigger as written for a file: it is on unless it says otherwise."""
    if not isinstance(entry, dict):
        return entry
    trigger = {"enabled": True, **cast("dict[str, Any]", entry)}
    if "workflow" in trigger and "workflow_id" not in trigger:
        trigger["workflow_id"] = trigger.pop("workflow")
    http = trigger.get("http")
    if isinstance(http, dict):
        trigger["http"] = {**HTTP_DEFAULTS, **cast("dict[str, Any]", http)}
    return trigger


def _check_together(
    reader: _Reader, workflows: dict[str, WorkflowFile], triggers: dict[str, TriggerDef]
) -> None:
    if len(workflows) + len(triggers) > MAX_ENTRIES:
        text = f"{len(workflows) + len(triggers)} workflows and triggers (max {MAX_ENTRIES})"
        reader.wrong("workflows" if workflows else "triggers", text)
    names = {where: file.definition.name for where, file in workflows.items()}
    _unique(reader, "workflow name", names)
    _unique(reader, "trigger ID", {where: trigger.id for where, trigger in triggers.items()})
    routes = {where: route for where, t in triggers.items() if (route := trigger_route(t))}
    _unique(reader, "route", routes)
    if len(names) < len(list(reader.entries("workflows"))):
        return  # Which workflows there are is not known: some cannot be read.
    known = set(names.values())
    for where, trigger in triggers.items():
        if trigger.workflow_id and trigger.workflow_id not in known:
            text = f"workflow {quote(trigger.workflow_id)} is not in this file"
            reader.wrong(where, text)


def _unique(reader: _Reader, what: str, named: dict[str, str]) -> None:
    first: dict[str, str] = {}
    for where, name in named.items():
        if name in first:
            line = reader.document.line_of(first[name])
            reader.wrong(where, f"duplicate {what} {quote(name)} (first on line {line})")
        first.setdefault(name, where)


def _refused(reader: _Reader) -> InvalidError:
    texts = _shown(reader.path, sorted(set(reader.problems)))
    return InvalidError(texts[0], f"{len(texts)} problem(s) in all; nothing was changed", texts)


def _shown(path: Path, problems: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(f"{path}:{line}: {text}" for line, text in problems)
