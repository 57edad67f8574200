"""A workflow definition compiled for the machine: who waits for whom, decoded configs, policies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TypeVar

from dagnats.model.codec import decode
from dagnats.model.retry import policy_for
from dagnats.model.validate import derive_aux
from dagnats.model.workflow import CONFIG_OF, RetryPolicy, StepConfig, StepDef, WorkflowDef

C = TypeVar("C", bound=StepConfig)


class Plan:
    """One definition, plus the steps a planner added to one run.

    Args:
        definition: the definition a run is pinned to.
        dynamic: steps that planners generated, ids already namespaced ``{planner}.{id}``.

    Attributes:
        order: the steps' ids, generated ones last; ``places`` says where each stands in it.
    """

    def __init__(self, definition: WorkflowDef, dynamic: Iterable[StepDef] = ()) -> None:
        self.definition = definition
        self.dynamic = list(dynamic)
        self.steps = {step.id: step for step in (*definition.steps, *self.dynamic)}
        self.order = list(self.steps)
        self.places = {step_id: place for place, step_id in enumerate(self.order)}
        self.aux = frozenset(derive_aux(definition))
        self._configs: dict[str, StepConfig] = {}
        self.generated = self._group_generated()
        self.parents = {step_id: self._parents(step) for step_id, step in self.steps.items()}
        self.children = self._invert(self.parents)

    def _group_generated(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for step in self.dynamic:
            owner = max(
                (s.id for s in self.definition.steps if step.id.startswith(f"{s.id}.")), key=len
            )
            groups.setdefault(owner, []).append(step.id)
        return groups

    def _parents(self, step: StepDef) -> list[str]:
        """Whom a step waits for; whoever waits for a planner waits for what it planned as well."""
        parents = list(dict.fromkeys(step.depends_on))
        if step.id in self._dynamic_ids:
            return parents
        return parents + [made for parent in parents for made in self.generated.get(parent, ())]

    @cached_property
    def _dynamic_ids(self) -> frozenset[str]:
        return frozenset(step.id for step in self.dynamic)

    @staticmethod
    def _invert(parents: dict[str, list[str]]) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {step_id: [] for step_id in parents}
        for step_id, of in parents.items():
            for parent in of:
                if parent in children:
                    children[parent].append(step_id)
        return children

    @cached_property
    def terminal(self) -> list[str]:
        """Steps nobody depends on, auxiliary ones excluded: their outputs are the run's."""
        return [
            step.id
            for step in self.definition.steps
            if step.id not in self.aux and not self._static_children(step.id)
        ]

    def _static_children(self, step_id: str) -> list[str]:
        return [child for child in self.children[step_id] if child not in self._dynamic_ids]

    def generated_terminal(self, planner: str) -> list[str]:
        """The steps of a planner's plan that no other step of that plan depends on."""
        made = set(self.generated.get(planner, ()))
        return [
            step_id
            for step_id in self.generated.get(planner, ())
            if not any(child in made for child in self.children[step_id])
        ]

    def config(self, step_id: str, kind: type[C]) -> C:
        """The decoded ``config`` of a step.

        Raises:
            InvalidError: the config does not have the shape its type needs.
        """
        known = self._configs.get(step_id)
        if known is None:
            step = self.steps[step_id]
            text = bytes(step.config) or b"{}"
            known = self._configs[step_id] = decode(text, CONFIG_OF[step.type])
        assert isinstance(known, kind)
        return known

    def retry_policy(self, step: StepDef) -> RetryPolicy | None:
        """The retry policy in force for a step."""
        return policy_for(step, self.definition)

    def extended(self, steps: Iterable[StepDef]) -> Plan:
        """The plan with more generated steps."""
        return Plan(self.definition, [*self.dynamic, *steps])
