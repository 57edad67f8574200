"""What a handler may do to the system while it works: register workflows and start runs.

Only for steps that ask for the capability ``control-plane``, of workflows that the server's policy
grants it (``engine.md`` 14).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from dagnats.errors import DagnatsError, RunEndedError, UnreachableError, UsageError
from dagnats.model.codec import decode, encode
from dagnats.model.event import ChildPayload, Event, EventType
from dagnats.model.task import TaskPayload
from dagnats.model.workflow import WorkflowDef
from dagnats.worker.outcome import seconds
from dagnats.worker.values import decoder, encode_output

CAPABILITY = "control-plane"
"""What a step asks for, and the engine hands on if the workflow may have it."""

T = TypeVar("T")


class ControlPlaneError(DagnatsError):
    """The control plane refused.

    Args:
        message: what is wrong.
        kind: ``invalid_def``, ``namespace``, ``unresolvable_name``, ``denied``,
            ``depth_exceeded``, ``quota_exceeded``, ``rate_limited`` or ``transport``.
    """

    code = "control_plane"

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Budget(Struct, frozen=True):
    """What the tree of runs that a step belongs to uses, and what it may use."""

    active_runs: int = 0
    max_active_runs: int = 0
    registered_defs: int = 0
    max_registered_defs: int = 0


class Definable(Protocol):
    """A workflow builder."""

    def build(self) -> WorkflowDef:
        """The definition."""
        ...


class ControlLink(Protocol):
    """What the control plane needs of the worker."""

    async def ask(self, subject: str, data: bytes) -> bytes:
        """Ask the server, and wait for its answer."""
        ...

    async def child_end(self, run_id: str, child_id: str) -> Event:
        """Wait for the event with which a child tells its parent that it has ended."""
        ...


class ControlPlane:
    """The control plane, for the task at hand.

    Args:
        payload: the task, whose nonce proves that we are at work on it.
        link: the worker.
    """

    def __init__(self, payload: TaskPayload, link: ControlLink) -> None:
        self._payload = payload
        self._link = link

    async def register(
        self, workflow: Definable | WorkflowDef | dict[str, Any], *, promote: bool = False
    ) -> str:
        """Register a workflow for this tree of runs.

        Args:
            workflow: a builder, a definition, or a definition as JSON would have it.
            promote: for everybody and to stay; the policy must allow the name.

        Returns:
            The name to start it by.

        Raises:
            ControlPlaneError: it is wrong, or refused.
        """
        if not isinstance(workflow, WorkflowDef | dict):
            workflow = workflow.build()
        answer = await self._ask(
            "api.runtimes.register", {"def": workflow, "promote": promote, **self._proof("owner")}
        )
        return str(answer["scoped_name"])

    async def spawn(
        self, workflow: str, value: Any = None, *, key: str = "", detach: bool = False
    ) -> str:
        """Start a run as a child of this one.

        It is cancelled when this run ends other than completed, and tells it how it ended.

        Args:
            workflow: the name of a registered workflow.
            value: its input; ``None``: no input.
            key: tells apart what this step starts: with the same key, another attempt of the step
                gets the same child instead of a second one.
            detach: a run of its own, which survives this one and tells nothing.

        Returns:
            The id of the child.

        Raises:
            ControlPlaneError: refused, or there is no such workflow.
        """
        body = {"child_workflow": workflow, **self._proof("parent"), "key": key, "detach": detach}
        if value is not None:
            body["input"] = msgspec.Raw(encode_output(value))
        return str((await self._ask("api.runs.spawn", body))["run_id"])

    async def result(
        self,
        child_id: str,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - part of the offer
        kind: Any = Any,
    ) -> Any:
        """Wait for a child that is not detached, and return its output.

        Args:
            child_id: what :meth:`spawn` returned.
            timeout: how long to wait, in seconds or as ``timedelta``; for ever unless given.
            kind: the type to read the output as.

        Raises:
            RunEndedError: the child ended other than completed.
            TimeoutError: it did not end in time.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        async with asyncio.timeout(limit):
            event = await self._link.child_end(self._payload.run_id, child_id)
        child = decode(bytes(event.payload), ChildPayload)
        if event.type != EventType.CHILD_COMPLETED:
            raise RunEndedError(f"child run {child_id} ended: {child.error}")
        return decoder(kind)(bytes(child.output) or b"null")

    async def budget(self) -> Budget:
        """What this tree of runs uses, and what it may use.

        Raises:
            ControlPlaneError: refused.
        """
        return msgspec.convert(await self._ask("api.runtimes.budget", self._proof("owner")), Budget)

    def _proof(self, side: str) -> dict[str, Any]:
        payload = self._payload
        return {
            f"{side}_run_id": payload.run_id,
            f"{side}_step_id": payload.step_id,
            "nonce": payload.dispatch_nonce,
        }

    async def _ask(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = msgspec.json.decode(await self._link.ask(subject, encode(body)))
        except UnreachableError as error:
            raise ControlPlaneError(error.message, "transport") from None
        if answer.get("error"):
            raise ControlPlaneError(answer["error"], answer.get("kind", "transport"))
        return answer


class SyncControlPlane:
    """The same for plain handlers; every call waits.

    Args:
        control: the control plane.
        wait: runs a call in the worker's event loop.
    """

    def __init__(
        self, control: ControlPlane, wait: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        self._control = control
        self._wait = wait

    def register(
        self, workflow: Definable | WorkflowDef | dict[str, Any], *, promote: bool = False
    ) -> str:
        """Like :meth:`ControlPlane.register`."""
        return self._wait(self._control.register(workflow, promote=promote))

    def spawn(
        self, workflow: str, value: Any = None, *, key: str = "", detach: bool = False
    ) -> str:
        """Like :meth:`ControlPlane.spawn`."""
        return self._wait(self._control.spawn(workflow, value, key=key, detach=detach))

    def result(
        self, child_id: str, timeout: float | timedelta | None = None, kind: Any = Any
    ) -> Any:
        """Like :meth:`ControlPlane.result`."""
        return self._wait(self._control.result(child_id, timeout, kind))

    def budget(self) -> Budget:
        """Like :meth:`ControlPlane.budget`."""
        return self._wait(self._control.budget())


def control_of(payload: TaskPayload, link: ControlLink) -> ControlPlane:
    """The control plane of a task.

    Raises:
        UsageError: the task may not use it.
    """
    if CAPABILITY not in payload.required_capabilities:
        raise UsageError(
            f"step {payload.step_id} may not use the control plane",
            f"give it the capability {CAPABILITY!r}, and its workflow a grant in the policy",
        )
    return ControlPlane(payload, link)
