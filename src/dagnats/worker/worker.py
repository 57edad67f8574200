"""The worker a user writes handlers for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from dagnats.errors import DagnatsError, InvalidError, UsageError
from dagnats.model.names import name_problem
from dagnats.wire import subjects
from dagnats.wire.connection import ConnectOptions
from dagnats.worker.handler import Handler, TaskOptions
from dagnats.worker.kinds import Kind, Watch
from dagnats.worker.loop import fast_loop
from dagnats.worker.outcome import seconds
from dagnats.worker.serving import Plan, serve

log = logging.getLogger("dagnats.worker")

F = TypeVar("F", bound=Callable[..., Any])
W = TypeVar("W", bound=Watch)

DEFAULT_CONCURRENCY = 64
"""Tasks a worker runs at once unless told otherwise."""

DEFAULT_GRACE_S = 30.0
"""How long running tasks may take when the worker is asked to stop (``engine.md`` W-24)."""

INTERRUPTED = 130
"""Exit code of a worker that was told twice to stop."""


class Worker:
    """Runs the tasks of workflows.

        worker = Worker()

        @worker.task("img.resize", concurrency=8)
        async def resize(job: Resize) -> Resized: ...

        worker.run()

    Args:
        server: NATS address or options; left out, ``DAGNATS_NATS_URL`` or the local server.
        name: what the directory calls this worker.
        concurrency: how many tasks run at once in this worker, of all types together.
        grace: how long running tasks may take when the worker stops, in seconds or as
            ``timedelta``; those that take longer go back to the queue.
        telemetry: send what its handlers log, its spans and its metrics to the server, where
            ``dagnats logs`` and ``dagnats run trace`` show them.

    Raises:
        UsageError: a number makes no sense.
    """

    def __init__(
        self,
        server: str | ConnectOptions | None = None,
        *,
        name: str = "",
        concurrency: int = DEFAULT_CONCURRENCY,
        grace: float | timedelta = DEFAULT_GRACE_S,
        telemetry: bool = True,
    ) -> None:
        self.worker_id = f"worker-{secrets.token_hex(8)}"
        self.name = name
        self._server = server
        self._concurrency = _positive(concurrency, "concurrency")
        self._grace_s = seconds(grace, "grace")
        self._handlers: dict[str, Handler] = {}
        self._telemetry = telemetry
        self._kinds: dict[str, Kind] = {}
        self._signals = 0
        self._stopping: asyncio.Event | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The registered handlers, in order of registration."""
        return tuple(self._handlers.values())

    def task(
        self,
        task: str,
        *,
        concurrency: int | None = None,
        timeout: float | timedelta | None = None,
        ack_wait: float | timedelta | None = None,
        group: str = "",
        unwrap_trigger: bool = False,
    ) -> Callable[[F], F]:
        """Register the decorated function as the handler of a task type.

        It takes ``(input)``, ``(ctx)`` or ``(ctx, input)``; the annotation of ``input`` says what
        the JSON becomes. What it returns is the step's output; what it raises fails the attempt.

        Args:
            task: the task type, as in the workflow's ``task``.
            concurrency: how many at once; as many as the whole worker unless given.
            timeout: how long one attempt may take.
            ack_wait: how long a task survives a worker that has fallen silent; five minutes
                unless given. Running tasks send heartbeats by themselves.
            group: take only tasks of steps with this ``worker_group``.
            unwrap_trigger: give the handler the ``data`` of a trigger's envelope.

        Raises:
            UsageError: the signature cannot be served, or the task type has a handler already.
            InvalidError: the task type or group cannot be part of a subject.
        """
        options = TaskOptions(
            concurrency=_positive(
                self._concurrency if concurrency is None else concurrency, "concurrency"
            ),
            timeout_s=seconds(timeout, "timeout") if timeout is not None else 0.0,
            ack_wait_s=seconds(ack_wait, "ack wait") if ack_wait is not None else 0.0,
            group=group,
            unwrap_trigger=unwrap_trigger,
        )

        def register(function: F) -> F:
            self._register(Handler(task, function, options))
            return function

        return register

    def trigger(
        self,
        kind: str,
        *,
        schema: Mapping[str, Any] | None = None,
        version: str = "1",
        description: str = "",
    ) -> Callable[[W], W]:
        """Register the decorated coroutine function as what watches for a kind of trigger.

            @worker.trigger("mail", schema={"type": "object", "required": ["mailbox"]})
            async def watch(trigger: Watched) -> None:
                async for mail in inbox(trigger.config["mailbox"]):
                    await trigger.fire({"subject": mail.subject}, key=mail.id)

        It runs once for each trigger of the kind while that is on, is cancelled when it is switched
        off or changed, and is started again when it fails. Of several workers one owns the kind.

        Args:
            kind: its name, as in a trigger's ``external.kind``.
            schema: JSON Schema of a trigger's ``external.config``; any object unless given.
            version: to be raised when the schema changes.
            description: for people.

        Raises:
            InvalidError: the name cannot be one.
            UsageError: the kind has a watcher already.
        """
        if problem := name_problem("trigger kind", kind):
            raise InvalidError(problem)
        if kind in self._kinds:
            raise UsageError(f"trigger kind {kind!r} has a watcher already", "name another one")

        def register(watch: W) -> W:
            self._kinds[kind] = Kind(
                name=kind,
                watch=watch,
                schema=schema or {"type": "object"},
                version=version,
                description=description,
            )
            return watch

        return register

    def _register(self, handler: Handler) -> None:
        subjects.task_filter(handler.task, handler.options.group)
        durable = subjects.durable(handler.task, handler.options.group)
        other = self._handlers.get(durable)
        if other is not None:
            raise UsageError(
                f"tasks {other.task!r} and {handler.task!r} share the consumer {durable}",
                "give each task type one handler, and a name of its own",
            )
        self._handlers[durable] = handler

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, then drain; a second signal ends it at once.

        For programs whose main purpose is this worker: errors end the process with a message.
        """
        if not logging.getLogger().handlers:
            logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
        try:
            with asyncio.Runner(loop_factory=fast_loop()) as runner:
                runner.run(self._main())
        except DagnatsError as error:
            hint = f"\nHint: {error.hint}" if error.hint else ""
            sys.stderr.write(f"Error: {error.message}{hint}\n")
            raise SystemExit(error.exit_code) from None
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise SystemExit(INTERRUPTED) from None

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows has no signal handlers on the loop; there Ctrl+C ends the worker at once.
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._on_signal)
        await self.serve()

    def _on_signal(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self.stop()
        elif self._signals == 2 and self._serving is not None:
            self._serving.cancel()
        else:
            os._exit(INTERRUPTED)  # A handler's own threads may keep the process from ending.

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        """Serve until :meth:`stop` is called, then drain. Cancelling it skips the draining.

        Args:
            ready: set as soon as tasks are taken.

        Raises:
            UsageError: there is no handler, or the worker serves already.
            UnreachableError: there is no server.
            ConflictError: another worker's consumer is in the way.
        """
        if not (self._handlers or self._kinds):
            raise UsageError("the worker has no handlers", 'decorate one: @worker.task("type")')
        if self._stopping is not None:
            raise UsageError("the worker serves already", "make another Worker")
        self._stopping = asyncio.Event()
        self._serving = asyncio.current_task()
        plan = Plan(
            options=_options(self._server, self.name or self.worker_id),
            worker_id=self.worker_id,
            name=self.name,
            handlers=self.handlers,
            concurrency=self._concurrency,
            grace_s=self._grace_s,
            telemetry=self._telemetry,
            kinds=tuple(self._kinds.values()),
        )
        try:
            await serve(plan, self._stopping, ready or asyncio.Event())
        finally:
            self._stopping = self._serving = None

    def stop(self) -> None:
        """Take no more tasks, let the running ones end, and return from :meth:`serve`."""
        if self._stopping is not None:
            self._stopping.set()

    async def __aenter__(self) -> Worker:
        """Serve in the background; the block begins when tasks are taken."""
        ready = asyncio.Event()
        self._background = asyncio.create_task(self.serve(ready), name="dagnats-worker")
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._background, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if self._background.done():
            waiting.cancel()
            self._background.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drain and disconnect."""
        self.stop()
        await self._background


def _positive(number: int, what: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{what} is {number!r}", "give a whole number from 1 on")
    return number


def _options(server: str | ConnectOptions | None, name: str) -> ConnectOptions:
    if isinstance(server, ConnectOptions):
        return server
    url = server or os.environ.get("DAGNATS_NATS_URL") or os.environ.get("NATS_URL")
    return ConnectOptions(url=url, name=name) if url else ConnectOptions(name=name)
