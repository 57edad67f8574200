"""For programs that start workflows: register, start, wait, signal, approve, watch.

    async with Client() as client:
        await client.register(wf)
        run = await client.start("thumbs", {"url": "…"})
        thumb = await run.result(kind=Thumb)

:class:`SyncClient` is the same for programs without an event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from datetime import datetime, timedelta
from typing import Any, cast

from dagnats.errors import RunEndedError, UsageError
from dagnats.model.codec import encode
from dagnats.model.run import RunStatus, WorkflowRun
from dagnats.model.workflow import WorkflowDef
from dagnats.services import events, run_events, run_query, run_steps, run_watch, runs
from dagnats.services.contexts import ConnectSettings
from dagnats.services.run_events import RunEvent
from dagnats.services.session import Session, open_session
from dagnats.services.workflow_files import register, validate_file
from dagnats.services.workflows import Registered, register_definition
from dagnats.worker.outcome import seconds
from dagnats.worker.values import OutputError, decoder, encode_output
from dagnats.workflow import Workflow


class Run:
    """One run. Made by :meth:`Client.start` and :meth:`Client.run`."""

    def __init__(self, session: Session, run_id: str) -> None:
        self._session = session
        self.id = run_id

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def result(self, timeout: float | timedelta | None = None, kind: Any = Any) -> Any:  # noqa: ASYNC109
        """Wait until the run has ended and return its output.

        A workflow with one last step gives that step's output; one with several gives an object
        of their outputs by step.

        Args:
            timeout: how long to wait, in seconds or as ``timedelta``; for ever unless given.
            kind: the type to read the output as.

        Raises:
            RunEndedError: the run ended other than completed.
            UnreachableError: it did not end in time.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        ended = await run_watch.wait_run(self._session, self.id, limit)
        if ended.status != RunStatus.COMPLETED:
            raise RunEndedError(
                f"run {self.id} ended {ended.status}{_because(ended)}",
                f"see 'dagnats run inspect {self.id}'",
            )
        return decoder(kind)(await self._output())

    async def _output(self) -> bytes:
        found = await run_events.run_outputs(self._session, self.id)
        outputs = {step: text.encode() for step, text in (found.outputs or {}).items()}
        if len(found.steps) == 1:
            return outputs.get(found.steps[0], b"null")
        body = b",".join(encode(step) + b":" + data for step, data in outputs.items())
        return b"{" + body + b"}"

    async def status(self) -> str:
        """Where the run stands.

        Raises:
            NotFoundError: there is no such run.
        """
        return (await self.snapshot()).status

    async def snapshot(self) -> WorkflowRun:
        """All that is known of the run just now.

        Raises:
            NotFoundError: there is no such run.
        """
        return await run_query.appearing_run(self._session, self.id)

    async def cancel(self) -> None:
        """Cancel the run.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended already.
        """
        await runs.cancel_run(self._session, self.id)

    async def signal(self, name: str, value: Any = None) -> None:
        """Send a signal to a handler of the run that waits for it, or will.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended already.
        """
        await runs.signal_run(self._session, self.id, name, _json(value, "signal"))

    async def approve(self, step: str, value: Any = None) -> None:
        """Let a step pass that waits for approval; ``value`` becomes its output.

        Raises:
            NotFoundError: nothing waits for approval there.
            ConflictError: somebody else has decided, or the time is over.
        """
        await run_steps.approve(self._session, self.id, step, _optional(value))

    async def reject(self, step: str, value: Any = None) -> None:
        """Make a step fail that waits for approval; ``value`` is the reason.

        Raises:
            NotFoundError: nothing waits for approval there.
            ConflictError: somebody else has decided, or the time is over.
        """
        await run_steps.reject(self._session, self.id, step, _optional(value))

    async def events(self) -> AsyncGenerator[RunEvent]:
        """Every event of the run, past and to come, until it has ended."""
        following = run_watch.follow_run(self._session, self.id)
        async with aclosing(cast("AsyncGenerator[RunEvent]", following)):
            async for event in following:
                yield event


class Client:
    """A connection for programs that use workflows.

    Args:
        server: NATS address, or how to connect; left out, what every dagnats tool uses:
            ``DAGNATS_NATS_URL``, the context of the ``nats`` tool, or the local server.
    """

    def __init__(self, server: str | ConnectSettings | None = None) -> None:
        if isinstance(server, ConnectSettings):
            self._settings = server
        else:
            self._settings = ConnectSettings(server=server or "")
        self._open: Session | None = None
        self._exits = AsyncExitStack()

    async def connect(self) -> Client:
        """Connect; ``async with`` does it by itself.

        Raises:
            UnreachableError: there is no server.
        """
        self._open = await self._exits.enter_async_context(open_session(self._settings))
        return self

    async def close(self) -> None:
        """Disconnect."""
        self._open = None
        await self._exits.aclose()

    async def __aenter__(self) -> Client:
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _session(self) -> Session:
        if self._open is None:
            raise UsageError("the client is not connected", "use it in 'async with Client() as c'")
        return self._open

    async def register(self, workflow: Workflow | WorkflowDef | str) -> Registered:
        """Register a workflow: one built here, or a workflow file by its path.

        Raises:
            InvalidError: naming every problem.
        """
        if isinstance(workflow, str):
            return await register(self._session, validate_file(workflow))
        if isinstance(workflow, Workflow):
            return await register_definition(self._session, workflow.build(), workflow.triggers)
        return await register_definition(self._session, workflow)

    async def start(
        self,
        workflow: str | Workflow,
        input: Any = None,  # noqa: A002 - what it is called everywhere
        *,
        at: datetime | None = None,
    ) -> Run:
        """Start a run.

        Args:
            workflow: a registered workflow, or its name.
            input: what JSON can hold: plain values, dataclasses, models; None for no input.
            at: start it then, not now; needs a time zone.

        Raises:
            NotFoundError: there is no such workflow.
            InvalidError: the input does not fit the workflow's schema.
        """
        name = workflow.name if isinstance(workflow, Workflow) else workflow
        started = await runs.start_run(
            self._session, name, _optional(input), None if at is None else _moment(at)
        )
        return Run(self._session, started.run_id)

    def run(self, run_id: str) -> Run:
        """A run by its full id."""
        return Run(self._session, run_id)

    async def publish_event(self, event_type: str, event: Any, event_id: str = "") -> None:
        """Publish an event that waiting steps and cancel rules may match.

        Args:
            event_type: dotted name, e.g. ``order.paid``.
            event: what becomes a JSON object with at least one key.
            event_id: publishing twice with one id stores one event, within two minutes.

        Raises:
            InvalidError: it is no such object.
        """
        await events.publish_event(self._session, event_type, _json(event, "event"), event_id)


def _because(run: WorkflowRun) -> str:
    return f": {run.error}" if run.error else ""


def _optional(value: Any) -> bytes | None:
    return None if value is None else _json(value, "value")


def _json(value: Any, what: str) -> bytes:
    try:
        return bytes(encode_output(value)) or b"null"
    except OutputError as error:
        raise UsageError(f"{what}: {error}") from None


def _moment(at: datetime) -> str:
    if at.tzinfo is None:
        raise UsageError(f"start time {at} has no time zone", "use datetime.now(UTC) + …")
    return at.isoformat()
