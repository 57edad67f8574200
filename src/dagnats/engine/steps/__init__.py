"""The kinds of steps, one module each, behind the interface of :mod:`dagnats.engine.kind`."""

from __future__ import annotations

from collections.abc import Mapping

from dagnats.engine.kind import StepKind
from dagnats.engine.steps.approval import ApprovalStep
from dagnats.engine.steps.loop import LoopStep
from dagnats.engine.steps.map import MapStep
from dagnats.engine.steps.planner import PlannerStep
from dagnats.engine.steps.respond import RespondStep
from dagnats.engine.steps.sleep import SleepStep
from dagnats.engine.steps.sub_workflow import SubWorkflowStep
from dagnats.engine.steps.task import TaskStep
from dagnats.engine.steps.wait import WaitStep
from dagnats.model.workflow import StepType

KINDS: Mapping[str, StepKind] = {
    StepType.NORMAL: TaskStep(),
    StepType.AGENT: TaskStep(),
    StepType.AGENT_LOOP: LoopStep(),
    StepType.MAP: MapStep(),
    StepType.PLANNER: PlannerStep(),
    StepType.SLEEP: SleepStep(),
    StepType.WAIT_FOR_EVENT: WaitStep(),
    StepType.APPROVAL: ApprovalStep(),
    StepType.SUB_WORKFLOW: SubWorkflowStep(),
    StepType.RESPOND: RespondStep(),
}
