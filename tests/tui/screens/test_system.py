from __future__ import annotations

import pytest

from dagnats.model.records import SingletonLock, TokenBucket
from dagnats.runtime.engine import Engine
from dagnats.services import audit
from dagnats.services.audit import list_audit
from dagnats.services.control import paused
from dagnats.services.dlq import list_dead
from dagnats.services.overview import list_connections, list_consumers, list_locks, server_facts
from dagnats.services.session import Session
from dagnats.services.singletons import list_singletons
from dagnats.tui.screens.audit import Audit
from dagnats.tui.screens.system import System
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import bury_many, same


def view_of(ui: Driver) -> System:
    assert isinstance(ui.app.view, System)
    return ui.app.view


async def test_what_services_tell(session: Session, engine: Engine) -> None:
    await session.stores.rate_limits.put("api", TokenBucket(tokens=0, limit=5, period_ns=10**9))
    await session.stores.singletons.put("w", SingletonLock(run_id="r" * 32))
    facts = await server_facts(session)
    assert [engine.state for engine in facts.engines] == ["active"]
    assert facts.account is not None
    assert facts.account.streams > 20
    consumers = await list_consumers(session, ["WORKFLOW_HISTORY", "NOWHERE"])
    assert [(each.name, each.stalled) for each in consumers] == [("orchestrator", False)]
    locks = await list_locks(session)
    assert [row.key for row in locks.singletons] == ["w"]
    assert [(row.key, row.tokens, row.limit) for row in locks.rates] == [("api", 0, 5)]
    clients = await list_connections(session)
    assert clients is not None
    assert {"dagnats"} <= {client.name for client in clients}


@pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light")]
)
async def test_every_section_and_what_is_held(
    session: Session,
    engine: Engine,
    console: Open,
    size: tuple[int, int],
    theme: str,
) -> None:
    await session.stores.rate_limits.put("api", TokenBucket(tokens=0, limit=5, period_ns=10**9))
    await session.stores.singletons.put("w", SingletonLock(run_id="r" * 32))
    async with console("system", size=size, theme=theme) as ui:
        await ui.sees("active")
        await ui.press("tab")
        await ui.sees("DEAD_LETTERS")
        await ui.press("enter")
        await ui.until(lambda: ui.app.view.address().terms)
        await ui.press("tab")
        await ui.sees("0 of 5 left per 1.0s")
        same(ui, f"system-locks-{size[0]}")
        await ui.press("P")
        await ui.type("pause")
        await ui.press("enter")
        await ui.sees("everything is paused")
        assert (await paused(session)).paused
        await ui.sees("nothing starts until it is resumed")
        ui.app.go("locks")
        await ui.press("g", "x")
        await ui.sees("everything goes on")
        assert not (await paused(session)).paused
        await ui.until(lambda: view_of(ui).lock_list.current.key == "w")
        await ui.press("x")
        await ui.sees("Break the lock w")
        await ui.type("w")
        await ui.press("enter")
        await ui.sees("released w")
        assert await list_singletons(session) == []
        await ui.press("tab")
        await ui.sees("127.0.0.1:")
        view_of(ui)._have_connections(None)
        await ui.sees("may not ask who else is connected")
        await ui.press("tab")
        await ui.sees("STREAMS AS THEY ARE SET UP")


async def test_cleaning_is_previewed_and_needs_the_count(session: Session, console: Open) -> None:
    await bury_many(session, (3,))
    async with console("system") as ui:
        await ui.press("K", "d")
        await ui.sees("Only what is older than")
        await ui.type("x")
        await ui.press("enter")
        await ui.until(lambda: "7dx" in "\n".join(ui.screen()))
        for _ in "7dx":
            await ui.press("backspace")
        await ui.press("enter")
        await ui.sees("3 messages")
        await ui.sees("dagnats clean --type dlq --force")
        await ui.type("3")
        await ui.press("enter")
        await ui.sees("cleaned 1 stream")
        assert (await list_dead(session)).total == 0


async def test_read_only_changes_nothing(console: Open) -> None:
    async with console("system", read_only="read-only") as ui:
        for key in ("P", "K"):
            await ui.press(key)
            await ui.sees(": read-only")


@pytest.mark.parametrize(
    ("size", "theme"), [((80, 24), "dagnats-dark"), ((120, 36), "dagnats-light")]
)
async def test_the_audit_trail(
    session: Session, console: Open, size: tuple[int, int], theme: str
) -> None:
    async with console("audit", size=size, theme=theme) as ui:
        await ui.sees("Nothing was done yet.")
        await audit.record(session, "dlq.discard", "4186", {"run_id": "a" * 32})
        await audit.record(session, "workflow.created", "etl")
        await ui.app.feed.look()
        await ui.until(lambda: len(ui.app.view.rows) == 2)
        await ui.pilot.pause()
        same(ui, f"audit-{size[0]}")
        assert len(await list_audit(session)) == 2
        await ui.press("G", "enter")
        await ui.until(lambda: ui.app.view.address().ids[:1] == ("a" * 8,))
        ui.app.go("audit action:workflow.*")
        await ui.until(lambda: len(ui.app.view.table.rows) == 1)
        assert isinstance(ui.app.view, Audit)
        await ui.press("m")
        await ui.sees("No row matches")
