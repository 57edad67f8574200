"""Our own log records on their two ways out."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from dagnats.runtime.telemetry.exporter import Telemetry
from dagnats.server.embedded import EmbeddedServer
from dagnats.server.logs import ROOT, configure
from dagnats.wire.stores import Stores
from tests.conftest import eventually


@pytest.fixture
def lines() -> Iterator[tuple[io.StringIO, logging.Logger]]:
    """A logger of ours and what it writes, as text."""
    stream = io.StringIO()
    root = logging.getLogger(ROOT)
    before = (root.level, root.propagate)
    handler = configure("text", "info", stream)
    yield stream, logging.getLogger("dagnats.engine")
    root.removeHandler(handler)
    root.setLevel(before[0])
    root.propagate = before[1]


def test_a_line_for_people(lines: tuple[io.StringIO, logging.Logger]) -> None:
    stream, log = lines
    log.error("run failed", extra={"about": {"run_id": "a1", "workflow": "deploy"}})
    assert stream.getvalue()[8:] == " ERROR engine run failed [run_id=a1 workflow=deploy]\n"


def test_levels_below_the_chosen_one_are_left_out(
    lines: tuple[io.StringIO, logging.Logger],
) -> None:
    stream, log = lines
    log.debug("detail")
    assert stream.getvalue() == ""


def test_text_of_strangers_is_harmless(lines: tuple[io.StringIO, logging.Logger]) -> None:
    stream, log = lines
    log.warning("evil \x1b]0;x\x07\nline", extra={"about": {"error": "\x1b[31m\u202e"}})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


def test_a_traceback_follows_on_lines_of_its_own(
    lines: tuple[io.StringIO, logging.Logger],
) -> None:
    stream, log = lines
    try:
        raise ValueError("evil \x1b[2J")
    except ValueError:
        log.exception("broken")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR engine broken")
    assert rest[-1] == "    ValueError: evil \\x1b[2J"


def test_a_record_as_json(lines: tuple[io.StringIO, logging.Logger]) -> None:
    _, log = lines
    stream = io.StringIO()
    handler = configure("json", "info", stream)
    log.warning("%s", "x" * 10_000, extra={"about": {"n": 1}})
    log.warning("")
    logging.getLogger(ROOT).removeHandler(handler)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert len(first["body"]) == 8192
    assert (first["severity"], first["serviceName"]) == ("WARN", "engine")
    assert first["attributes"] == {"n": "1"}
    assert second["body"] == "(empty)"  # readers of the protocol do not take an empty body


async def stored(stores: Stores, subject: str) -> list[str]:
    return [
        json.loads(body)["body"] async for _, _, body in stores.read_since("TELEMETRY", subject, 0)
    ]


async def test_records_reach_telemetry_by_service_and_severity(
    stores: Stores, lines: tuple[io.StringIO, logging.Logger]
) -> None:
    _, log = lines
    telemetry = Telemetry(stores)
    telemetry.start()
    log.info("one")
    log.error("two")
    await telemetry.stop()
    log.info("after the end")
    assert await stored(stores, "telemetry.logs.engine.info") == ["one"]
    assert await stored(stores, "telemetry.logs.engine.error") == ["two"]


async def test_records_wait_while_nats_is_away(
    stores: Stores, nats_server: EmbeddedServer, lines: tuple[io.StringIO, logging.Logger]
) -> None:
    _, log = lines
    telemetry = Telemetry(stores)
    telemetry.start()
    await nats_server.stop()
    for number in range(10_500):  # more than are kept: the oldest go
        log.info("line %d", number)
    await nats_server.start()

    async def all_there() -> bool:
        if not stores.bus.nc.is_connected:
            return False
        found = await stored(stores, "telemetry.logs.engine.info")
        return bool(found) and found[-1] == "line 10499"

    await eventually(all_there, 20.0)
    await telemetry.stop()
    assert await stored(stores, "telemetry.logs.engine.info") == [
        f"line {number}" for number in range(500, 10_500)
    ]
