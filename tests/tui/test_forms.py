"""The console in its other forms: printed, recorded, served; and what its options mean."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dagnats.errors import InvalidError, NotFoundError, UsageError
from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.services.contexts import ConnectSettings
from dagnats.services.dlq import list_dead
from dagnats.services.recording import play, read_manifest, record
from dagnats.services.run_query import RunQuery, list_runs
from dagnats.services.session import Session, open_session
from dagnats.tui.browser import is_local, serve
from dagnats.tui.export import document
from dagnats.wire.publisher import Outgoing
from tests.cli.runner import cli
from tests.services.conftest import put_run

BUSY = Path(__file__).parent / "recordings" / "busy.rec"
SECOND = 1_000_000_000


def shown(*words: str) -> list[str]:
    done = cli("ui", "--replay", str(BUSY), "--print", "-w", "100", *words)
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    return done.lines


def test_a_view_is_printed_as_text() -> None:
    lines = shown("runs", "--filter", "status:failed wf:code-review")
    assert "recorded" in lines[0]
    assert any("failed" in line and "code-review" in line for line in lines)
    assert any(":runs status:failed wf:code-review" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_run_is_shown_by_its_prefix() -> None:
    rows = shown("runs wf:code-review status:failed")
    run_id = next(row for row in rows if row.startswith("▌")).split()[2]
    assert any(f"{run_id} failed" in row for row in shown("--run", run_id))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], 'there is no screen "nowhere"'),
        (["runs", "--run", "x"], "give one of ADDRESS, --run and --screen"),
        (["--theme", "pink"], "there is no theme 'pink'"),
        (["--replay", "nothing.rec", "--print"], "no such file: nothing.rec"),
        (["runs"], "the console needs a terminal"),
        (["--demo", "--print"], "--demo and --print do not go together"),
        (["--demo", "--replay", "x.rec"], "--demo and --replay do not go together"),
        (["--record", "x.rec", "--print"], "--record and --print do not go together"),
        (["--serve", "--print"], "--serve and --print do not go together"),
        (["--serve", "--listen", "0.0.0.0:8091"], "only loopback addresses are allowed"),
        (["--serve", "--listen", "localhost"], "only loopback addresses are allowed"),
        (["--print", "-s", "nats://127.0.0.1:1"], "cannot connect to NATS"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str) -> None:
    done = cli("ui", *words)
    assert done.code in (1, 2)
    assert said in done.err


def test_no_other_command_pays_for_the_console() -> None:
    script = (
        "import pkgutil, importlib, sys, dagnats.cli\n"
        "for found in pkgutil.walk_packages(dagnats.cli.__path__, 'dagnats.cli.'):\n"
        "    importlib.import_module(found.name)\n"
        "assert 'textual' not in sys.modules, sorted(m for m in sys.modules if 'tui' in m)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=50)


@pytest.mark.parametrize(
    ("host", "origin", "fine"),
    [
        ("127.0.0.1:8091", "", True),
        ("localhost:8091", "http://localhost:8091", True),
        ("[::1]:8091", "", True),
        ("evil.example:8091", "", False),
        ("127.0.0.1:8091", "http://evil.example", False),
        ("127.0.0.1:8091", "http://127.0.0.1:9000", False),
    ],
)
def test_the_browser_console_answers_its_own_pages_only(host: str, origin: str, fine: bool) -> None:
    assert is_local(host, origin) is fine


def test_serving_beyond_this_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="not HOST:PORT"):
        serve("127.0.0.1:http", [])


async def test_a_recording_holds_everything_as_it_was(session: Session, tmp_path: Path) -> None:
    await put_run(session, "00000000-run", time.time_ns(), status="failed", error="no luck")
    dead = Outgoing("dead.t.x", b"{}", "d1", {"Dagnats-Dlq-Run-Id": "00000000-run"})
    await session.bus.publisher.publish(dead)
    await session.stores.dead_letters.delete(1)
    await session.bus.publisher.publish(Outgoing("dead.t.x", b"{}", "d2", dead.headers))
    path = tmp_path / "incident.rec"
    await record(session, path)
    assert read_manifest(path).at <= time.time_ns()
    other = EmbeddedServer(NatsSettings(data_dir=tmp_path / "o", port=free_port(), sync="2m"))
    await other.start()
    async with open_session(ConnectSettings(server=other.url)) as played:
        await play(played, path)
        before, after = await list_dead(session), await list_dead(played)
        assert [letter.sequence for letter in after.entries] == [2]
        assert after.entries == before.entries
        assert (await list_runs(played, RunQuery())).runs == (
            await list_runs(session, RunQuery())
        ).runs
    await other.stop()


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    with pytest.raises(NotFoundError):
        read_manifest(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(InvalidError, match="is not a recording"):
        read_manifest(path)


def test_lists_are_exported_for_machines_and_people() -> None:
    from tests.tui.test_runs import row

    rows = [row(1, error="=cmd()|x\n\x1b[31m")]
    assert json.loads(document(rows, "json"))[0]["error"] == "=cmd()|x\n\x1b[31m"
    assert "'=cmd()" in document(rows, "csv")
    assert "=cmd()\\|x\\n\\x1b[31m" in document(rows, "md")


async def test_the_palette_does_things_and_the_mouse_works(console: Any, session: Session) -> None:
    for number in range(5):
        await put_run(session, f"{number:08x}-run", time.time_ns() - number * SECOND)
    async with console("runs") as ui:
        await ui.press("ctrl+p")
        await ui.type("reported in")
        await ui.sees("What was reported in this session")
        await ui.press("enter")
        await ui.sees("Nothing was reported yet.")
        await ui.press("escape")
        table = ui.app.view.table
        await ui.pilot.click(table, offset=(20, 3))
        assert table.cursor == 2
        at = ui.screen()[0].index("1 Home")
        await ui.pilot.click("#header", offset=(at, 0))
        await ui.until(lambda: ui.app.navigator.root == "home")


async def test_another_server_is_a_context_away(
    console: Any, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_run(session, "00000000-here", time.time_ns())
    other = EmbeddedServer(NatsSettings(data_dir=tmp_path / "o", port=free_port(), sync="2m"))
    await other.start()
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    (folder / "staging.json").write_text(json.dumps({"url": other.url}))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    async with console("runs") as ui:
        await ui.sees("1 of 1")
        await ui.press(":")
        await ui.type("ctx sta")
        await ui.sees("ctx staging")
        await ui.press("enter")
        await ui.until(lambda: ui.app.feed.link.name == "staging" and ui.app.feed.link.up)
        assert ui.app.feed.runs.total == 0
        ui.app.go("ctx nowhere")
        await ui.sees('nats context "nowhere" not found')
    await other.stop()
