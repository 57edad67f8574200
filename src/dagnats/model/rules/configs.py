"""What each type of step demands of its ``config``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dagnats.errors import InvalidError
from dagnats.model.codec import decode, is_absent
from dagnats.model.conditions import WAIT_OPERATORS
from dagnats.model.cron import cron_problem
from dagnats.model.names import is_key, is_path, is_subject, name_problem, pattern_problem
from dagnats.model.problems import quote
from dagnats.model.rules.bounds import MAX_COUNT, duration_problems
from dagnats.model.times import DAY, HOUR, format_duration
from dagnats.model.workflow import (
    CONFIG_OF,
    AgentLoopConfig,
    ApprovalConfig,
    MapConfig,
    Match,
    PlannerConfig,
    RespondConfig,
    SleepConfig,
    StepDef,
    StepType,
    SubWorkflowConfig,
    WaitForEventConfig,
)

MAX_MAP_ITEMS = 10_000
MAX_SLEEP = 365 * DAY
MAX_APPROVAL = 168 * HOUR
Ids = Mapping[str, StepDef]

_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LABELS = {
    StepType.AGENT_LOOP: " is AgentLoop but Config is invalid",
    StepType.MAP: " is Map but Config is invalid",
    StepType.SUB_WORKFLOW: ": invalid sub-workflow config",
    StepType.SLEEP: ": invalid sleep config",
    StepType.WAIT_FOR_EVENT: ": invalid WaitForEvent config",
    StepType.APPROVAL: ": invalid approval config",
    StepType.PLANNER: ": invalid planner config",
    StepType.RESPOND: ": invalid respond config",
}


def config_problems(step: StepDef, ids: Ids) -> Iterator[str]:
    """What is wrong with the config of a step."""
    kind = CONFIG_OF.get(step.type)
    if kind is None:
        return
    label = f"step {quote(step.id)}"
    absent = is_absent(step.config) or bytes(step.config) == b"null"
    if absent and kind is not RespondConfig:
        yield f"{label}{_LABELS[StepType(step.type)]}: config is missing"
        return
    try:
        config = decode(b"{}" if absent else bytes(step.config), kind)
    except InvalidError as error:
        yield f"{label}{_LABELS[StepType(step.type)]}: {error.message}"
        return
    for problem in _RULES[kind](config, step, ids):
        yield f"{label}{problem}"


def nesting_problems(step: StepDef, ids: Ids) -> Iterator[str]:
    """A map cannot take its items from another map."""
    if step.type != StepType.MAP:
        return
    for parent in step.depends_on:
        if parent in ids and ids[parent].type == StepType.MAP:
            yield (
                f"step {quote(step.id)} is Map and depends on {quote(parent)} "
                "which is also Map (nesting not supported)"
            )


def match_problems(label: str, match: Match) -> Iterator[str]:
    """What is wrong with the left side and the operator of a match."""
    for name in ("left", "op", "right"):
        if not getattr(match, name):
            yield f"{label}.{name.capitalize()} must not be empty"
    if match.left and not is_path(match.left):
        yield f"{label}.Left {quote(match.left)} has an empty segment"
    if match.op and match.op not in WAIT_OPERATORS:
        known = ", ".join(WAIT_OPERATORS)
        yield f"{label}.Op {quote(match.op)} is unknown (valid: {known})"


def _agent_loop(config: AgentLoopConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del step, ids
    if config.max_iterations <= 0:
        yield f" is AgentLoop but MaxIterations is {config.max_iterations} (must be > 0)"
    elif config.max_iterations > MAX_COUNT:
        yield f" is AgentLoop but MaxIterations is {config.max_iterations} (must be <= {MAX_COUNT})"
    for name, value in (("MaxDuration", config.max_duration), ("LoopDelay", config.loop_delay)):
        yield from duration_problems(f": AgentLoop.{name}", value)


def _map(config: MapConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del ids
    if len(step.depends_on) != 1:
        yield f" is Map but has {len(step.depends_on)} dependencies (must have exactly one)"
    if config.max_items <= 0:
        yield f" is Map but MaxItems is {config.max_items} (must be > 0)"
    elif config.max_items > MAX_MAP_ITEMS:
        yield f" is Map but MaxItems is {config.max_items} (must be <= {MAX_MAP_ITEMS})"
    if not 0 <= config.max_concurrency <= MAX_MAP_ITEMS:
        count = config.max_concurrency
        yield f" is Map but max_concurrency is {count} (must be 0..{MAX_MAP_ITEMS})"


def _sub_workflow(config: SubWorkflowConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del step, ids
    if not config.workflow:
        yield ": sub-workflow config must have non-empty Workflow"
    elif problem := name_problem("workflow", config.workflow):
        yield f": sub-workflow config: {problem}"


def _sleep(config: SleepConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del ids
    given = bool(config.duration) + bool(config.cron) + bool(config.until_input_path)
    if given != 1:
        yield (
            f": invalid sleep config: step {quote(step.id)}: sleep config must set exactly one of "
            f"duration, cron, until_input_path; got {given}"
        )
    elif config.cron and (problem := cron_problem(config.cron)):
        yield f": invalid sleep cron: {problem}"
    elif config.duration < 0:
        yield f": sleep duration must be positive, got {format_duration(config.duration)}"
    elif config.duration > MAX_SLEEP:
        yield f": sleep duration {format_duration(config.duration)} exceeds max 8760h0m0s"
    elif config.until_input_path and not is_path(config.until_input_path):
        yield f": until_input_path {quote(config.until_input_path)} has an empty segment"


def _approval(config: ApprovalConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del step, ids
    if not config.subject:
        yield ": Approval.Subject must not be empty"
    elif not is_subject(config.subject):
        yield f": Approval.Subject {quote(config.subject)} is not a clean subject"
    elif problem := pattern_problem(config.subject):
        yield f": Approval.Subject: {problem}"
    if config.timeout <= 0:
        yield ": Approval.Timeout must be positive"
    elif config.timeout > MAX_APPROVAL:
        yield f": Approval.Timeout {format_duration(config.timeout)} exceeds max 168h0m0s"


def _planner(config: PlannerConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del step, ids
    if not 1 <= config.max_steps <= 100:
        yield f": PlannerConfig.MaxSteps is {config.max_steps} (must be 1..100)"
    if not 0 <= config.max_depth <= 10:
        yield f": PlannerConfig.MaxDepth is {config.max_depth} (must be 0..10)"
    for task in config.allowed_tasks:
        if not is_subject(task):
            yield f": PlannerConfig.AllowedTasks has {quote(task)}, no clean subject token"


def _wait(config: WaitForEventConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del step
    if not config.event:
        yield ": WaitForEvent.Event must not be empty"
    elif not is_key(config.event):
        yield f": WaitForEvent.Event {quote(config.event)} is not a clean event type"
    for problem in match_problems("WaitForEvent.Match", config.match):
        yield f": {problem}"
    if config.timeout <= 0:
        yield ": WaitForEvent.Timeout must be positive"
    yield from _right_side(config.match.right, ids)


def _right_side(right: str, ids: Ids) -> Iterator[str]:
    segments = right.split(".")
    if not right or (segments[0] == "input" and len(segments) > 1):
        return
    if segments[0] != "step":
        yield f": Match.Right must start with step. or input., got {quote(right)}"
    elif len(segments) < 4:
        yield f": invalid step path {quote(right)} (expected step.{{id}}.output.{{field}})"
    elif not any(".".join(segments[1:end]) in ids for end in range(2, len(segments) - 1)):
        yield f": Match.Right references step {quote(segments[1])} which does not exist"


def _respond(config: RespondConfig, step: StepDef, ids: Ids) -> Iterator[str]:
    del step, ids
    if config.status and not 200 <= config.status <= 599:
        yield f": respond status is {config.status} (must be 200..599)"
    for name, value in config.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield f": respond header {quote(name)} is not a valid header name"
        if not _HEADER_VALUE.fullmatch(value):
            yield f": respond header {quote(name)} has the invalid value {quote(value)}"
    if not _HEADER_VALUE.fullmatch(config.content_type):
        yield f": respond content_type {quote(config.content_type)} is not a valid header value"
    if config.body_from and not is_path(config.body_from):
        yield f": respond body_from {quote(config.body_from)} has an empty segment"


_RULES: dict[type[Any], Callable[[Any, StepDef, Ids], Iterator[str]]] = {
    AgentLoopConfig: _agent_loop,
    MapConfig: _map,
    SubWorkflowConfig: _sub_workflow,
    SleepConfig: _sleep,
    ApprovalConfig: _approval,
    PlannerConfig: _planner,
    WaitForEventConfig: _wait,
    RespondConfig: _respond,
}
