"""What a foreign server says of its durability."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.wire import durability
from dagnats.wire.connection import ConnectOptions, connect


@pytest.mark.parametrize(("sync", "told"), [("always", "always"), ("30s", "30s")])
async def test_the_monitoring_port_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, told: str
) -> None:
    monitor = free_port()
    monkeypatch.setattr(durability, "MONITOR_PORT", monitor)
    settings = NatsSettings(data_dir=tmp_path, port=free_port(), sync=sync, monitor_port=monitor)
    server = EmbeddedServer(settings)
    await server.start()
    bus = await connect(ConnectOptions(url=server.url))
    assert await durability.sync_mode(bus) == told
    await bus.close()
    await server.stop()


async def test_without_one_or_with_that_of_another_server_it_is_unknown(
    nats_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await connect(ConnectOptions(url=nats_server.url))
    monkeypatch.setattr(durability, "MONITOR_PORT", free_port())
    assert await durability.sync_mode(bus) == ""
    other = free_port()
    settings = NatsSettings(data_dir=tmp_path / "o", port=free_port(), monitor_port=other)
    server = EmbeddedServer(settings)
    await server.start()
    monkeypatch.setattr(durability, "MONITOR_PORT", other)
    assert await durability.sync_mode(bus) == ""
    await server.stop()
    await bus.close()
