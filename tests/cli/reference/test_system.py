"""The examples under ``config``, ``status``, ``logs`` and ``clean`` in the reference."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from dagnats.model.records import LogRecord
from dagnats.model.times import format_time
from tests.cli.conftest import World, step
from tests.cli.reference.conftest import Register, finished, live
from tests.cli.reference.shape import shown
from tests.cli.runner import cli
from tests.cli.test_groups import wait_for
from tests.cli.test_long_running import running


def test_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dagnats.yaml").write_text("data_dir: /tmp/dagnats\nmax_store_bytes: 1073741824\n")
    env = {"DAGNATS_HTTP_ADDR": ":8080", "DAGNATS_API_TOKEN": "x" * 32}
    done = cli("config", "show", env=env)
    assert done.code == 0, done.err
    shown(
        "\n".join(done.lines[:7]) + "\n",
        """
# data_dir: /tmp/dagnats
# http_addr: :8080
# nats_port: 4222
# monitor_port: (disabled)
# leaf_remotes: (none)
# leaf_credentials: (none)
# max_store_bytes: 1073741824
""",
    )
    assert cli("config", env=env).out == done.out, "without a sub-command it is show"
    document = cli("config", "show", "--json", env=env).json
    assert list(document)[:2] == ["data_dir", "http_addr"]
    assert (document["data_dir"], document["http_addr"]) == ("/tmp/dagnats", ":8080")
    assert cli("config", "--json", env=env).json == document


def test_status(shop: World, register: Register) -> None:
    shop("clean", "--force")
    live(shop, register("active", step("a", task="nobody.acts")), "1", "2")
    done = shop("status")
    shown(
        done.out,
        """
# NATS: connected
# JetStream: available (5 streams)
# Active runs: 2
...
""",
        vary={"(5": r"\(\d+"},
    )
    assert list(shop("status", "--json").json)[:4] == [
        *("nats", "jetstream", "stream_count", "active_runs")
    ]
    shop("run", "cancel-all", "--workflow=active")


def test_status_detail(shop: World, register: Register) -> None:
    shop("clean", "--force")
    finished(shop, register("linted", step("lint", task="lint.run")), '{"slow": true}', code=3)
    wait_for(lambda: shop("dlq", "list", "--json").json)
    done = shop("status", "--detail")
    shown(
        done.out,
        """
# NATS: connected
# JetStream: available (5 streams)
# Active runs: 0
...
# Task Queues:
# TASK PENDING IN-FLIGHT REDELIVERED ACK WAIT
...
# lint.run 0 0 0 30000ms
...
#
# Dead Letters: 1 total
# Oldest: 2025-01-15 09:05:00
# Newest: 2025-01-15 09:05:00
# TASK COUNT
# lint.run 1
#
# Engine:
# History lag: 0 messages (0.0s)
# Scheduled timers: 0
""",
        vary={"(5": r"\(\d+", "30000ms": r"\d+ms"},
    )
    shown_json = shop("status", "--detail", "--json").json
    assert {"queues", "dlq", "engine"} <= shown_json.keys()


def _log(shop: World, service: str, level: str, body: str, **about: str) -> None:
    record = LogRecord(
        timestamp=format_time(time.time_ns()),
        severity=level,
        body=body,
        attributes=about,
        service_name=service,
    )
    shop.do(lambda session: session.stores.logs.append(record))


def test_logs(shop: World) -> None:
    with running(shop, "logs", "--level=ERROR") as logs:
        assert logs.saw("Tailing") == "Tailing logs on telemetry.logs.*.ERROR ..."
        deadline = time.monotonic() + 10
        while not any("step failed" in line for line in logs.lines):
            assert time.monotonic() < deadline
            _log(shop, "engine", "error", "step failed", run_id="a1b2", step="lint")
            time.sleep(0.05)
        line = logs.saw("step failed")
        assert logs.interrupt() == 0
    shown(f"{line}\n", "# 09:15:30 ERROR engine step failed [run_id=a1b2 step=lint]")


def test_logs_tail(shop: World) -> None:
    _log(shop, "api", "info", "started run", run_id="a1b2", workflow="deploy")
    _log(shop, "engine", "info", "not this one")
    _log(shop, "api", "info", "started run", run_id="c3d4", workflow="review")
    done = shop("logs", "--tail=20", "--service=api")
    assert done.err == ""
    shown(
        done.out,
        """
# 09:14:00 INFO api started run [run_id=a1b2 workflow=deploy]
# 09:14:01 INFO api started run [run_id=c3d4 workflow=review]
""",
    )


def test_clean_dry_run(shop: World, deploy: str) -> None:
    shop("clean", "--force")
    finished(shop, deploy, '{"broken": true}', code=3)
    wait_for(lambda: shop("dlq", "list", "--json").json)
    done = shop("clean", "--dry-run")
    numbers = {"1042": r"\d+", "12.3": r"[0-9.]+", "MiB": "(?:B|KiB)", "3": r"\d+", "28": r"\d+"}
    shown(
        done.out,
        """
# Would clean:
# WORKFLOW_HISTORY stream 1042 msgs 12.3 MiB
...
# TASK_QUEUES stream 0 msgs 0 B
...
# DEAD_LETTERS stream 3 msgs 12.3 MiB
...
# workflow_runs kv 28 keys
...
# Total: 1042 messages, 12.3 MiB
""",
        vary=numbers,
    )
    assert shop("run", "count").out == "1\n", "nothing was cleaned"


def test_clean(shop: World, deploy: str) -> None:
    finished(shop, deploy)
    old = shop("clean", "--older-than=7d", "--force")
    assert re.fullmatch(r"Purged 0 streams, cleared 10 KV buckets\n", old.out)
    otel = shop("clean", "--type=otel", "--force")
    shown(otel.out, "# Purged 1 streams, cleared 0 KV buckets")
    both = shop("clean", "--type=otel,dlq", "--older-than=30d", "--dry-run")
    assert both.out == "Nothing to clean.\n"
    everything = shop("clean", "--all", "--force")
    shown(everything.out, "# Purged 6 streams, cleared 11 KV buckets")
    document = shop("clean", "--force", "--json")
    assert document.out == '{"streams_purged":5,"buckets_cleared":10,"errors":0}\n'


def test_clean_plans_two_categories(shop: World, register: Register) -> None:
    shop("clean", "--all", "--force")
    _log(shop, "api", "info", "old")
    finished(shop, register("linted", step("lint", task="lint.run")), '{"slow": true}', code=3)
    wait_for(lambda: shop("dlq", "list", "--json").json)
    time.sleep(0.01)
    done = shop("clean", "--type=otel,dlq", "--older-than=1ms", "--dry-run")
    shown(
        done.out,
        """
# Would clean:
# TELEMETRY stream 500 msgs 5.1 MiB
# DEAD_LETTERS stream 1 msgs 512 B
# Total: 501 messages, 5.1 MiB
""",
        vary={
            **dict.fromkeys(("500", "501", "512"), r"\d+"),
            "5.1": "[0-9.]+",
            "MiB": "(?:B|KiB)",
        },
    )
