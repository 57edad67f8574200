"""A NATS on which another make of engine is at work, or was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagnats.errors import RefusedError
from dagnats.model.times import SECOND
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.connection import Bus, ConnectOptions, connect
from dagnats.wire.errors import ApiError
from dagnats.wire.publisher import Outgoing
from dagnats.wire.topology import provision
from tests.conftest import eventually

GO_STREAM = {
    "name": "WORKFLOW_HISTORY",
    "subjects": ["history.>"],
    "retention": "limits",
    "storage": "file",
    "duplicate_window": 5 * SECOND,
}
GO_ENGINE: dict[str, Any] = {
    "durable_name": "orchestrator",
    "name": "orchestrator",
    "ack_policy": "explicit",
    "deliver_policy": "all",
    "max_deliver": 8,
    "filter_subject": "history.>",
}


async def _go(nats_server: EmbeddedServer) -> Bus:
    """What a Go engine leaves: its stream, its consumer, and one event it has dealt with of two."""
    bus = await connect(ConnectOptions(url=nats_server.url))
    await bus.api("STREAM.CREATE.WORKFLOW_HISTORY", GO_STREAM)
    await _attach(bus)
    for number in range(2):
        await bus.publisher.publish(Outgoing(f"history.r{number}", b"{}"))
    js = bus.nc.jetstream()
    pulled = await js.pull_subscribe_bind("orchestrator", "WORKFLOW_HISTORY")
    await (await pulled.fetch(1))[0].ack_sync()
    await pulled.unsubscribe()
    return bus


async def _attach(bus: Bus) -> None:
    body = {"stream_name": "WORKFLOW_HISTORY", "config": GO_ENGINE}
    await bus.api("CONSUMER.DURABLE.CREATE.WORKFLOW_HISTORY.orchestrator", body)


async def test_an_engine_at_work_is_refused_and_nothing_is_changed(
    nats_server: EmbeddedServer,
) -> None:
    bus = await _go(nats_server)
    before = await bus.api("STREAM.INFO.WORKFLOW_HISTORY")
    asked = json.dumps({"batch": 1, "expires": 30 * SECOND}).encode()
    inbox = bus.nc.new_inbox()
    await bus.nc.subscribe(inbox)
    for _ in range(2):  # The first one gets the event that is left.
        await bus.nc.publish(
            "$JS.API.CONSUMER.MSG.NEXT.WORKFLOW_HISTORY.orchestrator", asked, inbox
        )

    async def waiting() -> bool:
        info = await bus.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
        return bool(info["num_waiting"])

    await eventually(waiting)
    with pytest.raises(RefusedError, match="another DagNats engine is attached to this NATS"):
        await provision(bus)
    after = await bus.api("STREAM.INFO.WORKFLOW_HISTORY")
    assert after["config"] == before["config"]
    assert (await bus.api("STREAM.LIST"))["total"] == 1
    await bus.close()


async def test_one_that_has_gone_is_succeeded_where_it_stood(nats_server: EmbeddedServer) -> None:
    bus = await _go(nats_server)
    await provision(bus)
    info = await bus.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
    assert info["config"]["ack_policy"] == "all"
    assert info["num_pending"] == 1
    # And it cannot come back while we are here.
    with pytest.raises(ApiError, match="policy can not be updated"):
        await _attach(bus)
    await bus.close()
