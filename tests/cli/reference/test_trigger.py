"""The examples under ``trigger`` in the reference."""

from __future__ import annotations

import re

from tests.cli.conftest import World, step
from tests.cli.reference.conftest import Register
from tests.cli.reference.shape import shown
from tests.cli.test_groups import wait_for


def _created(shop: World, workflow: str, *options: str) -> str:
    done = shop("trigger", "create", workflow, *options)
    assert done.code == 0, done.err
    return done.out.split()[-1]


def _none_left(shop: World) -> None:
    for trigger in shop("trigger", "list", "-o", "name").lines:
        assert shop("trigger", "delete", trigger).code == 0


def test_create(shop: World, deploy: str) -> None:
    done = shop("trigger", "create", "deploy", "--cron=0 9 * * 1-5", "--tz=America/Denver")
    shown(done.out, "# Trigger created: trig-a1b2c3d4e5f6a7b8")
    hook = shop(
        *("trigger", "create", "deploy", "--webhook=/hooks/deploy", "--secret=mysecret", "--json")
    )
    assert re.fullmatch(r'\{"trigger_id":"trig-[0-9a-f]{16}"\}\n', hook.out)
    _none_left(shop)


def test_create_takes_the_secret_from_the_environment(shop: World, deploy: str) -> None:
    env = {"DAGNATS_WEBHOOK_SECRET": "mysecret"}
    made = shop("trigger", "create", "deploy", "--webhook=/hooks/env", "--json", env=env).json

    async def stored(session: object) -> str:
        entry = await session.stores.triggers.get(made["trigger_id"])  # type: ignore[attr-defined]
        return entry.value.webhook.secret

    assert shop.do(stored) == "mysecret"
    _none_left(shop)


def test_list(shop: World, deploy: str, register: Register) -> None:
    register("ingest")
    _created(shop, "deploy", "--cron=0 9 * * 1-5")
    _created(shop, "ingest", "--subject=events.incoming.>")
    done = shop("trigger", "list")
    head, *rows = done.out.splitlines(keepends=True)
    ordered = head + "".join(sorted(rows, key=lambda row: "ingest" in row))
    shown(
        ordered,
        """
# ID WORKFLOW TYPE CONFIG ENABLED
# trig-a1b2c3d4e5f6a7b8 deploy cron 0 9 * * 1-5 yes
# trig-c9d0e1f2a3b4c5d6 ingest subject events.incoming.> yes
""",
    )
    listed = shop("trigger", "list", "--json").json
    assert {"id", "workflow_id", "enabled"} <= listed[0].keys()
    _none_left(shop)


def test_update_enable_disable_delete(shop: World, deploy: str) -> None:
    trigger = _created(shop, "deploy", "--cron=0 9 * * 1-5")
    done = shop("trigger", "update", trigger[:13], "--cron=0 8 * * 1-5")
    shown(done.out, "# Trigger updated: trig-a1b2c3d4")
    assert "0 8 * * 1-5" in shop("trigger", "list").out
    assert shop("trigger", "disable", trigger).out == f"Trigger disabled: {trigger}\n"
    assert " no\n" in shop("trigger", "list").out
    assert shop("trigger", "enable", trigger).out == f"Trigger enabled: {trigger}\n"
    shown(shop("trigger", "delete", trigger).out, "# Trigger deleted: trig-a1b2c3d4e5f6a7b8")


def test_history(shop: World, register: Register) -> None:
    register("fired", step("a", task="lint.run"))
    register("fired-badly", step("a", task="deploy.announce"))
    trigger = _created(shop, "fired", "--cron=0 9 1 1 *")
    for _ in range(2):
        fired = shop("trigger", "fire", trigger, "--json").json
        wait_for(lambda fired=fired: shop("run", "watch", fired["run_id"]).code == 0)
    done = shop("trigger", "history", trigger)
    shown(
        done.out,
        """
# TIME STATUS RUN ID DURATION
# 2025-01-15 09:00:00 completed a1b2c3d4e5f6a7b8 2.5s
# 2025-01-14 09:00:00 completed c9d0e1f2a3b4c5d6 1.2s
""",
        vary={"2.5s": r"[0-9.]+m?s", "1.2s": r"[0-9.]+m?s"},
    )
    assert done.lines[1].split()[3] == fired["run_id"], "the newest comes first"
    rows = shop("trigger", "history", trigger, "--limit=5", "--json").json
    assert len(rows) == 2
    assert {"fired_at", "status", "run_id", "duration"} <= rows[0].keys()
    assert re.fullmatch(r"[0-9.]+m?s", rows[0]["duration"])
    assert len(shop("trigger", "history", trigger, "--limit=1", "--json").json) == 1
    _none_left(shop)


def test_test(shop: World) -> None:
    nowhere = {"DAGNATS_NATS_URL": "nats://127.0.0.1:1"}
    words = ("trigger", "test", "0 9 * * 1-5", "--tz=America/Denver", "--count=3")
    done = shop(*words, env=nowhere)
    shown(
        done.out,
        """
# Valid: 0 9 * * 1-5
#
# Next 3 fire times (America/Denver):
# 1. 2025-01-20 09:00 MST
# 2. 2025-01-21 09:00 MST
# 3. 2025-01-22 09:00 MST
""",
        vary={"MST": "M[SD]T"},
    )
    invalid = shop("trigger", "test", "invalid", "--json")
    assert list(invalid.json) == ["expression", "valid", "error"]
    assert (invalid.json["expression"], invalid.json["valid"]) == ("invalid", False)
