"""Runs as the APIs show them: as they lie on the wire, without what only workers may know."""

from __future__ import annotations

import msgspec

from dagnats.model.codec import always
from dagnats.model.run import WorkflowRun


class RunDocument(WorkflowRun):
    """A run, and the id of its trace (empty when it has none)."""

    trace_id: str = always("")

    @classmethod
    def of(cls, run: WorkflowRun, trace_id: str) -> RunDocument:
        """A run with its trace."""
        fields = {name: getattr(run, name) for name in WorkflowRun.__struct_fields__}
        return cls(**fields, trace_id=trace_id)


def run_document(run: WorkflowRun) -> WorkflowRun:
    """``run`` without the nonces that let their holder report results."""
    steps = {
        step: msgspec.structs.replace(state, dispatch_nonce="") for step, state in run.steps.items()
    }
    return msgspec.structs.replace(run, steps=steps)
