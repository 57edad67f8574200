"""A run on the screen while the connection goes and comes back: nothing is missed or doubled."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.server.embedded import EmbeddedServer
from dagnats.services.run_events import run_events
from dagnats.services.run_steps import override_step
from dagnats.services.session import Session
from tests.services.conftest import step
from tests.tui.run.conftest import Run, waits

pytestmark = pytest.mark.usefixtures("engine", "worker")


async def test_a_run_goes_on_after_the_server_was_away(
    console: Any, started: Run, session: Session, nats_server: EmbeddedServer
) -> None:
    run_id = await started("w", step("idle", task="nobody"), step("z", "idle"), end=False)
    await waits(session, run_id, "idle", "queued")
    async with console(f"run {run_id}") as ui:
        await ui.until(lambda: ui.app.view.state.total == 2)
        await nats_server.stop()
        await ui.sees("offline", 15)
        await ui.press("c")
        await ui.sees("the connection is lost")
        assert "idle" in "\n".join(ui.screen())
        await nats_server.start()
        await ui.sees("live", 20)
        await ui.until(lambda: session.bus.nc.is_connected, 20)
        await override_step(session, run_id, "idle", "complete", "it was away", b"{}")
        await ui.sees("completed   w v1", 20)
        expected = [event.seq for event in await run_events(session, run_id)]
        await ui.until(lambda: ui.app.view.state.total == len(expected))
        assert [event.seq for event in ui.app.view.state.history.events] == expected
