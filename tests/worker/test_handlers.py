"""Handlers as users write them: shapes, typed inputs, outputs, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from dagnats import NonRetryableError
from dagnats.errors import DagnatsError, UsageError
from dagnats.worker import SyncTaskContext, TaskContext, Worker
from tests.worker.helpers import Engine


@dataclass
class Point:
    x: int
    y: int = 0


class Box(TypedDict):
    w: int
    tags: list[str]


class Order(msgspec.Struct):
    id: UUID
    total: Decimal
    at: datetime


class Pair(NamedTuple):
    a: int
    b: str


class Model(pydantic.BaseModel):
    n: int = pydantic.Field(gt=0)
    inner: list[Point] = []


ORDER = {
    "id": "6" * 8 + "-0000-4000-8000-" + "0" * 12,
    "total": "1.50",
    "at": "2026-01-02T03:04:05Z",
}


async def point(given: Point) -> Point:
    return Point(given.y, given.x)


async def box(given: Box) -> Box:
    return {"w": given["w"] + 1, "tags": given["tags"]}


async def order(given: Order) -> Order:
    assert isinstance(given.total, Decimal)
    assert given.at.tzinfo == UTC
    return given


async def pair(given: Pair) -> Pair:
    return Pair(given.a, given.b * 2)


async def model(given: Model) -> Model:
    return Model(n=given.n + 1, inner=given.inner)


async def models(given: list[Model]) -> dict[str, Model]:
    return {"last": given[-1]}


async def anything(given: Any) -> Any:
    return given


async def union(given: int | str | None) -> str:
    return repr(given)


async def with_context(ctx: TaskContext, given: int) -> list[Any]:
    return [given, ctx.run_id, ctx.step_id, ctx.workflow, ctx.metadata, ctx.input]


async def unannotated(ctx, given):  # type: ignore[no-untyped-def]
    return [ctx.step_id, given]  # pyright: ignore[reportUnknownVariableType]


async def nothing() -> None:
    return None


def plain(given: int) -> str:
    return f"{given} in {threading.current_thread().name}"


def plain_with_context(ctx: SyncTaskContext) -> str:
    return ctx.step_id


def add(n: int, given: int) -> int:
    return n + given


def later(given: int) -> Coroutine[Any, Any, int]:
    return asyncio.sleep(0, given)


class Service:
    async def method(self, given: int) -> int:
        return given + 1

    def __call__(self, given: int) -> int:
        return given + 2


SHAPES: list[tuple[Callable[..., Any], Any, bytes]] = [
    (point, {"x": 1, "y": 2, "unknown": 3}, b'{"x":2,"y":1}'),
    (box, {"w": 1, "tags": ["a"]}, b'{"w":2,"tags":["a"]}'),
    (order, ORDER, msgspec.json.encode(ORDER)),
    (pair, [1, "b"], b'[1,"bb"]'),
    (model, {"n": 1, "inner": [{"x": 1}]}, b'{"n":2,"inner":[{"x":1,"y":0}]}'),
    (models, [{"n": 1}, {"n": 2}], b'{"last":{"n":2,"inner":[]}}'),
    (anything, {"a": [None], "b": 1}, b'{"a":[null],"b":1}'),
    (union, None, b'"None"'),
    (unannotated, 5, b'["s",5]'),
    (nothing, 5, b""),
    (plain, 5, b'"5 in dagnats-handler"'),
    (plain_with_context, None, b'"s"'),
    (Service().method, 1, b"2"),
    (Service(), 1, b"3"),
    (functools.partial(add, 10), 1, b"11"),
    (later, 4, b"4"),
]


@pytest.mark.parametrize(("handler", "given", "output"), SHAPES)
async def test_inputs_and_outputs_follow_the_annotations(
    engine: Engine, handler: Callable[..., Any], given: Any, output: bytes
) -> None:
    worker = engine.worker()
    worker.task("t")(handler)
    async with worker:
        event = await engine.result(await engine.send("t", given))
    assert event.type == "step.completed", bytes(event.payload)
    assert bytes(event.payload) == output


async def test_the_context_knows_its_task(engine: Engine) -> None:
    worker = engine.worker()
    worker.task("t")(with_context)
    async with worker:
        run = await engine.send("t", 5, metadata={"k": "v"})
        event = await engine.result(run)
    assert msgspec.json.decode(event.payload) == [5, run, "s", "w", {"k": "v"}, 5]


async def test_the_idempotency_key_is_the_same_in_every_attempt(engine: Engine) -> None:
    worker = engine.worker()
    keys: list[str] = []

    @worker.task("t")
    async def handler(ctx: TaskContext) -> None:
        keys.append(ctx.idempotency_key)

    async with worker:
        run = await engine.send("t")
        await engine.wait(run, 2)
        await engine.send("t", run=run, attempt=2)
        await engine.wait(run, 4)
        await engine.send("t", run=run, attempt=3, iteration=1)
        await engine.wait(run, 6)
    assert keys == [f"{run}/s", f"{run}/s", f"{run}/s/1"]


@pytest.mark.parametrize(
    ("handler", "given", "problem"),
    [
        (point, {"x": "1"}, "input does not fit Point: Expected `int`, got `str` - at `$.x`"),
        (point, {}, "missing required field `x`"),
        (point, 7, "Expected `object`, got `int`"),
        (model, {"n": 0}, "input does not fit Model: 1 validation error"),
        (pair, [1], "Expected `array` of length 2"),
    ],
)
async def test_an_input_that_does_not_fit_is_not_tried_again(
    engine: Engine, handler: Callable[..., Any], given: Any, problem: str
) -> None:
    worker = engine.worker()
    worker.task("t")(handler)
    async with worker:
        failure = await engine.failure(await engine.send("t", given))
    assert problem in failure.error
    assert failure.failure_type == "non_retriable"


async def test_a_missing_input_is_the_default_or_none_or_a_failure(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("default")
    async def default(given: Point = Point(3, 4)) -> Point:  # noqa: B008
        return given

    @worker.task("optional")
    async def optional(given: Point | None) -> str:
        return str(given)

    worker.task("needed")(point)
    async with worker:
        first = await engine.result(await engine.send("default"))
        second = await engine.result(await engine.send("optional"))
        third = await engine.failure(await engine.send("needed"))
    assert bytes(first.payload) == b'{"x":3,"y":4}'
    assert bytes(second.payload) == b'"None"'
    assert third.error == "the task has no input, and the handler needs one"
    assert third.failure_type == "non_retriable"


class Hostile:
    def model_dump_json(self) -> str:
        raise SystemExit("no")


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (object(), "object"),
        (Hostile(), "tests.worker.test_handlers.Hostile"),
        ("\ud800", "str"),
        ({(1, 2): 3}, "dict"),
        (_circle(), "list"),
        (msgspec.Raw(b"{broken"), "msgspec"),
        ([msgspec.Raw(b'{"a":')], "list"),
        (asyncio.Event, "type"),
        (contextvars.copy_context(), "Context"),
    ],
)
async def test_a_result_without_a_json_form_fails_the_step_and_names_its_type(
    engine: Engine, value: Any, type_name: str
) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler(*, given: Any = None) -> Any:
        return value

    @worker.task("after")
    async def after() -> int:
        return 1

    async with worker:
        failure = await engine.failure(await engine.send("t"))
        assert (await engine.result(await engine.send("after"))).type == "step.completed"
    assert failure.failure_type == "non_retriable"
    assert type_name in failure.error
    assert failure.error.startswith("cannot write a result of type")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("worse")


def _raise(error: BaseException) -> Any:
    raise error


async def _araise(error: BaseException) -> Any:
    raise error


HOSTILE = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("base"),
    StopIteration(1),
    asyncio.CancelledError(),
    UnprintableError(),
    RecursionError("deep"),
    ValueError("\ud800 surrogate"),
    ValueError("x" * 1_000_000),
    BaseExceptionGroup("group", [KeyboardInterrupt(), ValueError("inner")]),
]


@pytest.mark.parametrize("raiser", [_raise, _araise])
@pytest.mark.parametrize("error", HOSTILE, ids=lambda error: type(error).__name__)
async def test_whatever_a_handler_raises_is_recorded_and_the_worker_lives(
    engine: Engine, raiser: Callable[[BaseException], Any], error: BaseException
) -> None:
    worker = engine.worker()
    worker.task("t")(functools.partial(raiser, error))
    worker.task("after")(nothing)
    async with worker:
        failure = await engine.failure(await engine.send("t"))
        assert (await engine.result(await engine.send("after"))).type == "step.completed"
    assert failure.failure_type == "retriable"
    assert failure.error
    assert len(failure.error) <= 4000
    assert len(failure.traceback) <= 8000
    if not isinstance(error, StopIteration | GeneratorExit):  # A coroutine may not raise these.
        assert failure.error_type.endswith(type(error).__name__)


async def test_sys_exit_in_a_thread_or_coroutine_does_not_end_the_worker(engine: Engine) -> None:
    worker = engine.worker()

    @worker.task("plain")
    def plain_exit() -> None:
        sys.exit(2)

    @worker.task("async")
    async def async_exit() -> None:
        sys.exit("goodbye")

    async with worker:
        assert (await engine.failure(await engine.send("plain"))).error == "2"
        assert (await engine.failure(await engine.send("async"))).error == "goodbye"


async def test_an_output_over_the_servers_limit_fails_with_size_and_limit(engine: Engine) -> None:
    worker = engine.worker()
    limit = engine.stores.bus.max_payload

    @worker.task("t")
    async def handler(size: int) -> str:
        return "x" * size

    async with worker:
        failure = await engine.failure(await engine.send("t", limit))
        fits = await engine.result(await engine.send("t", limit - 8192))
        escaped = await engine.result(await engine.send("t", 10))
    assert failure.failure_type == "non_retriable"
    assert "exceeds the server's limit of" in failure.error
    assert str(limit)[:2] in failure.error
    assert fits.type == escaped.type == "step.completed"


async def test_an_output_that_grows_over_the_limit_by_escaping_fails_as_well(
    engine: Engine,
) -> None:
    worker = engine.worker()

    @worker.task("t")
    async def handler(size: int) -> str:
        return "<" * size

    async with worker:
        failure = await engine.failure(await engine.send("t", engine.stores.bus.max_payload // 2))
    assert "exceeds the server's limit of" in failure.error


async def _stream() -> AsyncIterator[int]:
    yield 1


def _unresolved(given: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037


async def _wrong_context(ctx: SyncTaskContext) -> None: ...


def _wrong_plain_context(ctx: TaskContext) -> None: ...


def _three(a: int, b: int, c: int) -> None: ...


def _rest(*args: int) -> None: ...


REFUSED: list[tuple[Callable[..., Any], str]] = [
    (_three, r"takes \(a, b, c\)"),
    (_rest, r"takes \*args"),
    (_stream, "is a generator"),
    (_unresolved, "Nowhere"),
    (_wrong_context, "annotate with TaskContext"),
    (_wrong_plain_context, "annotate with SyncTaskContext"),
]


@pytest.mark.parametrize(("handler", "problem"), REFUSED)
def test_a_handler_that_cannot_be_served_is_refused_when_it_is_registered(
    handler: Callable[..., Coroutine[Any, Any, Any]], problem: str
) -> None:
    with pytest.raises(UsageError, match="handler of task 't'") as caught:
        Worker().task("t")(handler)
    assert re.search(problem, f"{caught.value.message} {caught.value.hint}")


def test_a_type_json_cannot_become_is_refused() -> None:
    def handler(given: threading.Thread) -> None: ...

    with pytest.raises(UsageError, match="Thread cannot be read from JSON"):
        Worker().task("t")(handler)


@pytest.mark.parametrize("name", ["", "a..b", "a b", "a.*", ">", ".a", "a\n"])
def test_a_task_type_that_is_no_clean_subject_is_refused(name: str) -> None:
    with pytest.raises(DagnatsError):
        Worker().task(name)(nothing)


@pytest.mark.parametrize(
    "more", [{"concurrency": 0}, {"concurrency": -1}, {"timeout": 0}, {"timeout": "5s"}]
)
def test_options_that_make_no_sense_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Worker().task("t", **more)(nothing)


async def test_a_traceback_begins_with_the_handler(engine: Engine) -> None:
    worker = engine.worker()

    def helper() -> None:
        raise NonRetryableError("no")

    @worker.task("t")
    async def handler() -> None:
        helper()

    async with worker:
        failure = await engine.failure(await engine.send("t"))
    assert failure.error_type == "dagnats.NonRetryableError"
    assert "in handler" in failure.traceback
    assert "in helper" in failure.traceback
    assert "execution.py" not in failure.traceback
    assert failure.traceback.endswith("dagnats.NonRetryableError: no\n")
