"""Which workflows may use the control plane (``engine.md`` 14, CFG-2)."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import field

from dagnats.model.codec import Wire
from dagnats.model.names import name_problem
from dagnats.model.problems import Problem, quote


class ControlPlanePolicy(Wire):
    """Names of workflows.

    Args:
        grant: whose steps may register and start workflows.
        promote: of these, who may register some for everybody.
    """

    grant: list[str] = []
    promote: list[str] = []


class Policy(Wire):
    """What a deployment allows; nothing unless it is said. ``source``: who said it."""

    control_plane: ControlPlanePolicy = field(default_factory=ControlPlanePolicy)
    source: str = ""


def policy_problems(policy: Policy) -> Iterator[Problem]:
    """What is wrong with a policy."""
    rules = policy.control_plane
    for name, listed in (("grant", rules.grant), ("promote", rules.promote)):
        seen: set[str] = set()
        for index, workflow in enumerate(listed):
            where = f"control_plane.{name}[{index}]"
            if problem := name_problem("workflow name", workflow):
                yield Problem(where, problem)
            elif workflow in seen:
                yield Problem(where, f"{quote(workflow)} stands here twice")
            seen.add(workflow)
    for index, workflow in enumerate(rules.promote):
        if workflow and workflow not in rules.grant:
            text = f"{quote(workflow)} is not in grant"
            yield Problem(f"control_plane.promote[{index}]", text)
