"""Triggers, the configuration file and telemetry, all put together by ``serve``."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dagnats.services.run_trace import run_trace
from dagnats.services.session import Session
from tests.conftest import eventually
from tests.runtime.test_engine import ended
from tests.server.test_serve import Place, stores_of, telemetry

CONFIG = """\
workflows:
  - name: nap
    steps: [{id: a, type: sleep, config: {duration: 10ms}}]
triggers:
  - {id: hook, workflow: nap, webhook: {path: /hooks/nap}}
  - {id: tick, workflow: nap, cron: {expression: "* * * * * *"}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def post(url: str, body: bytes) -> tuple[int, dict[str, str]]:
    def send() -> tuple[int, dict[str, str]]:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}

    return await asyncio.to_thread(send)


async def test_serve_runs_what_its_file_says(place: Place) -> None:
    path = place.path / "dagnats.yaml"
    path.write_text(CONFIG)
    async with place.serve("--config", str(path)) as server, stores_of(server) as stores:
        status, headers = await post(f"{server.ready['http']}/hooks/nap", b'{"n": 1}')
        assert status == 200
        run_id = headers["x-dagnats-run-id"]
        run = await ended(stores, run_id)
        assert (run.status, json.loads(bytes(run.input))["data"]) == ("completed", {"n": 1})

        async def traced() -> bool:
            rows = await run_trace(Session(stores.bus, stores), run_id)
            return {"trigger.fire", "workflow nap", "sleep a"} <= {row.name for row in rows}

        await eventually(traced)

        async def ticked() -> bool:
            return bool(await stores.fires.newest("tick", 1))

        await eventually(ticked)
        path.write_text(CONFIG.replace("/hooks/nap", "nowhere"))

        async def told() -> bool:
            return any("refused" in record["body"] for record in await telemetry(stores))

        await eventually(told)
        path.write_text("\n".join(CONFIG.splitlines()[:-1]) + "\n")

        async def gone() -> bool:
            return await stores.triggers.keys() == ["hook"]

        await eventually(gone)
        records: list[dict[str, Any]] = await telemetry(stores)
        refused = next(record for record in records if "refused" in record["body"])
        assert "dagnats.yaml:5: triggers[0]: " in refused["attributes"]["problem"]
        code, _ = await server.end()
    assert code == 0
