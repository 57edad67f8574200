from __future__ import annotations

from contextlib import suppress

from dagnats.model.records import LogRecord
from dagnats.model.times import SECOND, format_time
from dagnats.services.logs import log_lines
from dagnats.services.session import Session
from dagnats.tui.screens.logs import Logs, level_of
from tests.tui.conftest import Driver, Open
from tests.tui.screens.conftest import same


def view_of(ui: Driver) -> Logs:
    assert isinstance(ui.app.view, Logs)
    return ui.app.view


async def log(session: Session, number: int, first: int = 0, **more: str) -> None:
    for at in range(first, first + number):
        severity = ("info", "debug", "warn", "error")[at % 4]
        record = LogRecord(
            timestamp=format_time(session.now() - SECOND),
            severity=severity,
            body=more.get("body", f"line {at:03} [b]x[/b]\x1b[31m"),
            attributes={"run_id": f"{at % 3}" * 32, "step_id": "slack"},
            service_name="engine",
        )
        await session.stores.logs.append(record)


async def test_an_empty_log(console: Open) -> None:
    async with console("logs", size=(80, 24)) as ui:
        await ui.sees("Nothing was logged yet.")
        same(ui, "logs-empty")


async def test_following_pausing_filtering_and_context(session: Session, console: Open) -> None:
    await log(session, 40)
    async with console("logs", size=(120, 36)) as ui:
        await ui.until(lambda: len(view_of(ui).log_list.all) == 40)
        await ui.sees("line 039 [b]x[/b]\\x1b[31m")
        same(ui, "logs-120")
        await ui.press("space", "k")
        await log(session, 3, first=40)
        await ui.sees("3 new")
        assert "line 042" not in "\n".join(ui.screen())
        await ui.press("space")
        await ui.sees("line 042")
        await ui.press("L", "e")
        await ui.until(lambda: len(view_of(ui).log_list.rows) == 10)
        assert {level_of(each.record) for each in view_of(ui).log_list.rows} == {"error"}
        await ui.press("C")
        await ui.sees("context 5")
        await ui.until(lambda: len(view_of(ui).log_list.rows) > 30)
        await ui.press("N")
        assert level_of(view_of(ui).log_list.current.record) == "error"
        await ui.press("A", "slash")
        await ui.type("03")
        await ui.until(lambda: len(view_of(ui).log_list.rows) == 11)
        await ui.press("enter", "r")
        await ui.until(lambda: len(view_of(ui).log_list.rows) < 11)
        assert view_of(ui).command().startswith("dagnats logs --run ")
        await ui.press("enter")
        await ui.sees("step_id     slack")
        await ui.press("o")
        assert ui.app.view.address().kind == "run"


async def test_a_narrow_log_and_bounded_memory(session: Session, console: Open) -> None:
    await log(session, 30)
    async with console("logs level:warn", size=(80, 24), theme="dagnats-light") as ui:
        await ui.until(lambda: len(view_of(ui).log_list.all) == 30)
        same(ui, "logs-80")
        view_of(ui).log_list.keep = 20
        await log(session, 10, first=30)
        await ui.until(lambda: view_of(ui).log_list.dropped == 20)
        await ui.sees("20 kept, 20 older dropped")


async def test_lines_come_once_and_from_where_they_were_left(session: Session) -> None:
    await log(session, 5)

    async def read(after: int | None, back: int = 0) -> list[int]:
        found: list[int] = []
        lines = log_lines(session, after, back)
        with suppress(StopAsyncIteration):
            async for each in lines:
                found.append(each.sequence)
                if each.sequence == 5:
                    break
        await lines.aclose()
        return found

    assert await read(None, 10) == [1, 2, 3, 4, 5]
    assert await read(None, 2) == [4, 5]
    assert await read(4) == [5]
