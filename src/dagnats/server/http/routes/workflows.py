"""Workflow definitions."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import InvalidError
from dagnats.model.files import WorkflowDocument, read_workflow
from dagnats.model.workflow import WorkflowDef
from dagnats.server.http.operations import Call, operation
from dagnats.services import workflow_files, workflows
from dagnats.services.workflows import Deleted, Revision

TAG = "workflows"


class Registration(Struct, omit_defaults=True, kw_only=True):
    """A workflow that was registered.

    Args:
        warnings: task types that no worker asks for.
        triggers: ids of the triggers that came with it.
    """

    status: str
    name: str
    action: str
    warnings: list[str] = []
    triggers: list[str] = []


@operation("GET", "/workflows", tag=TAG)
async def list_workflows(call: Call) -> list[WorkflowDef]:
    """All registered workflows, by name."""
    return await workflows.list_workflows(call.session)


@operation("POST", "/workflows", tag=TAG, status=201, schema=WorkflowDocument, missing=400)
async def register_workflow(call: Call, body: bytes) -> Registration:
    """Register a workflow or replace it, with its triggers if it has any.

    Durations are text such as `30m`, or whole nanoseconds. Runs in flight keep their definition.
    """
    file = read_workflow(body)
    if file.problems:
        texts = tuple(problem.text for problem in file.problems)
        raise InvalidError(f"invalid workflow: {texts[0]}", file.problems[0].hint, texts)
    done = await workflow_files.register(call.session, file)
    return Registration(
        status="registered",
        name=done.name,
        action=done.action,
        warnings=done.warnings,
        triggers=done.triggers,
    )


@operation("GET", "/workflows/{name:path}/revisions", tag=TAG)
async def workflow_revisions(call: Call, name: str) -> list[Revision]:
    """Every definition a workflow has had, newest first."""
    return await workflows.revisions(call.session, name)


@operation("GET", "/workflows/{name:path}", tag=TAG)
async def get_workflow(call: Call, name: str) -> WorkflowDef:
    """One registered workflow."""
    return await workflows.get_workflow(call.session, name)


@operation("DELETE", "/workflows/{name:path}", tag=TAG)
async def delete_workflow(call: Call, name: str) -> Deleted:
    """Delete a definition. Its runs stay; refused while triggers start it."""
    return await workflows.delete_workflow(call.session, name)
