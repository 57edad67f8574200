"""A user's function as a handler of one task type: its signature read once, called per task."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, cast

from msgspec import Struct

from dagnats.errors import InvalidError, UsageError
from dagnats.model.codec import parse_json
from dagnats.worker.context import SyncTaskContext, TaskContext
from dagnats.worker.values import Decoder, InputError, decoder, type_name

DEFAULT_ACK_WAIT_S = 300.0
"""How long a silent worker may hold a task before it goes to another (``wire.md`` 4.2)."""

_SHAPES = "(input), (ctx) or (ctx, input)"
_CONTEXT_NAMES = ("ctx", "context")
_MISSING = object()


class TaskOptions(Struct, frozen=True, kw_only=True):
    """How tasks of one type are taken and run.

    Args:
        concurrency: how many at a time in this worker.
        timeout_s: how long one attempt may take; 0 for ever.
        ack_wait_s: how long a task survives a worker that has fallen silent, before another
            worker gets it; 0 takes what the queue has, five minutes for a new one.
        group: take only tasks of steps with this ``worker_group``.
        unwrap_trigger: give the handler the ``data`` of a trigger's envelope, not the envelope.
    """

    concurrency: int = 1
    timeout_s: float = 0.0
    ack_wait_s: float = 0.0
    group: str = ""
    unwrap_trigger: bool = False


class Handler:
    """One task type's handler.

    Args:
        task: the task type.
        function: what the user wrote; a coroutine function, or a plain one that runs in a thread.
        options: how it is run.

    Raises:
        UsageError: the function's signature or annotations cannot be served.
    """

    def __init__(self, task: str, function: Callable[..., Any], options: TaskOptions) -> None:
        self.task = task
        self.options = options
        self.function = function
        self.is_async = _is_async(function)
        self._read: Decoder | None = None
        self._default: Any = _MISSING
        self._takes_context = False
        self._inspect()

    def arguments(self, context: TaskContext | SyncTaskContext, data: bytes) -> tuple[Any, ...]:
        """What to call the function with.

        Args:
            context: of this execution.
            data: the task's input as JSON, empty if there is none.

        Raises:
            InputError: the input does not fit the annotation.
        """
        head = (context,) if self._takes_context else ()
        if self._read is None:
            return head
        if self.options.unwrap_trigger:
            data = unwrap(data)
        return (*head, self._input(data))

    def _input(self, data: bytes) -> Any:
        assert self._read is not None
        if data:
            return self._read(data)
        if self._default is not _MISSING:
            return self._default
        try:
            return self._read(b"null")
        except InputError:
            raise InputError("the task has no input, and the handler needs one") from None

    def _inspect(self) -> None:
        where = f"handler of task {self.task!r}"
        if inspect.isasyncgenfunction(self.function) or inspect.isgeneratorfunction(self.function):
            raise UsageError(f"{where} is a generator", "return the result; stream with ctx.stream")
        parameters = _parameters(self.function, where)
        hints = _hints(self.function, where)
        kinds = [hints.get(parameter.name, Any) for parameter in parameters]
        if parameters and _is_context(parameters[0], kinds[0], alone=len(parameters) == 1):
            self._check_context(kinds[0], where)
            self._takes_context = True
            parameters, kinds = parameters[1:], kinds[1:]
        if len(parameters) > 1:
            names = ", ".join(parameter.name for parameter in parameters)
            raise UsageError(f"{where} takes ({names})", f"it may take {_SHAPES}")
        if parameters:
            self._read = decoder(Any if kinds[0] is object else kinds[0])
            if parameters[0].default is not inspect.Parameter.empty:
                self._default = parameters[0].default

    def _check_context(self, kind: Any, where: str) -> None:
        right = TaskContext if self.is_async else SyncTaskContext
        if kind in (TaskContext, SyncTaskContext) and kind is not right:
            style = "an async" if self.is_async else "a plain"
            raise UsageError(
                f"{where} is {style} function and takes a {type_name(kind)}",
                f"annotate with {right.__name__}",
            )


def unwrap(data: bytes) -> bytes:
    """The ``data`` of a trigger's envelope; anything else passes through (``engine.md`` W-20)."""
    if b'"trigger"' not in data:
        return data
    try:
        envelope = parse_json(data)
    except InvalidError:
        return data
    if not isinstance(envelope, dict) or "data" not in envelope:
        return data
    kind = cast("dict[str, Any]", envelope).get("trigger")
    if not isinstance(kind, str) or not kind:
        return data
    return _Envelope.data_of(data)


class _Envelope:
    """Cuts ``data`` out of an envelope without a round trip through Python values."""

    @staticmethod
    def data_of(data: bytes) -> bytes:
        import msgspec

        return bytes(msgspec.json.decode(data, type=dict[str, msgspec.Raw])["data"])


def _is_async(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = cast("Callable[..., Any]", inner.func)
    kind = cast("type[Any]", type(inner))
    call = getattr(kind, "__call__", None)  # noqa: B004 - the method is wanted, not a test
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)


def _parameters(function: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise UsageError(f"{where} has no readable signature", f"write a def {_SHAPES}") from None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for parameter in parameters:
        if parameter.kind not in positional and parameter.default is inspect.Parameter.empty:
            raise UsageError(f"{where} takes {parameter}", f"it may take {_SHAPES}")
    return [parameter for parameter in parameters if parameter.kind in positional]


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    target = inspect.unwrap(function)
    while isinstance(target, functools.partial):
        target = cast("Callable[..., Any]", target.func)
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError) as error:
        raise UsageError(
            f"{where} has an annotation that cannot be resolved: {error}",
            "define the type at module level, before the handler",
        ) from None


def _is_context(parameter: inspect.Parameter, kind: Any, *, alone: bool) -> bool:
    if kind in (TaskContext, SyncTaskContext):
        return True
    if kind is not Any:
        return False
    # Unannotated: the first of two is the context, whatever its name.
    return not alone or parameter.name in _CONTEXT_NAMES
