"""Every operation of the API over a real socket, engine and worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from dagnats.services.session import Session
from tests.conftest import eventually
from tests.server.http.client import Client, chunks, read_head
from tests.services.conftest import Register, put_run, step

pytestmark = pytest.mark.usefixtures("engine")

STEPS = [step("a"), step("b", "a")]
W = {"name": "w", "version": "1", "steps": STEPS}


async def ended(api: Client, run_id: str, status: str = "completed") -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def there() -> bool:
        found.clear()
        found.update((await api.get(f"/runs/{run_id}")).json)
        return found.get("status") == status

    await eventually(there)
    return found


@pytest.mark.usefixtures("worker")
async def test_a_workflow_is_registered_run_and_read(api: Client) -> None:
    made = await api.post("/workflows", W)
    assert (made.status, made.json["status"], made.json["name"]) == (201, "registered", "w")
    assert [each["name"] for each in (await api.get("/workflows")).json] == ["w"]
    assert (await api.get("/workflows/w")).json["steps"][1]["depends_on"] == ["a"]
    started = await api.post("/runs", {"workflow": "w", "input": {"n": 1}})
    assert started.status == 201
    assert set(started.json) == {"run_id"}
    run = await ended(api, started.json["run_id"])
    assert run["trace_id"] == "" or len(run["trace_id"]) == 32
    assert run["steps"]["a"]["output"]  # base64, as on the wire
    assert not any(state.get("dispatch_nonce") for state in run["steps"].values())
    outputs = (await api.get(f"/runs/{run['run_id']}/outputs")).json
    assert outputs["outputs"] == {"b": {"got": {"got": {"n": 1}}}}
    assert (await api.get(f"/runs/{run['run_id']}/why")).status == 200
    again = await api.post(f"/runs/{run['run_id']}/retry")
    assert again.status == 201
    assert again.json["original_run_id"] == run["run_id"]


async def test_a_workflow_in_use_by_a_trigger_stays(api: Client) -> None:
    cron = {"id": "nightly", "cron": {"expression": "0 3 * * *"}}
    assert (await api.post("/workflows", W | {"triggers": [cron]})).status == 201
    refused = await api("DELETE", "/workflows/w")
    assert (refused.status, refused.json["code"]) == (403, "refused")
    assert (await api("DELETE", "/triggers/nightly")).status == 200
    assert (await api("DELETE", "/workflows/w")).json["name"] == "w"
    assert (await api.get("/workflows/w")).status == 404
    assert len((await api.get("/workflows/w/revisions")).json) == 1


async def test_what_is_wrong_with_a_workflow_is_told_whole(api: Client) -> None:
    bad = await api.post("/workflows", {"name": "x", "version": "1", "steps": [{"id": "a"}, 7]})
    assert bad.status == 400
    assert bad.headers["content-type"] == "application/problem+json"
    assert bad.json["code"] == "invalid"
    assert "steps[1]" in json.dumps(bad.json)
    assert (await api.post("/workflows", b"{")).status == 400


async def test_a_list_of_runs_goes_on_behind_its_cursor(api: Client, session: Session) -> None:
    for index in range(25):
        await put_run(session, f"r{index:02}", (index // 3) * 1_000_000_000 + 10**18)
    seen: list[str] = []
    path = "/runs?limit=10"
    for _ in range(5):
        page = await api.get(path)
        seen += [run["run_id"] for run in page.json]
        if "link" not in page.headers:
            break
        path = page.headers["link"].split(">")[0].strip("<")
    assert len(seen) == len(set(seen)) == 25
    assert seen[-1] in {"r00", "r01", "r02"}
    assert (await api.get("/runs?cursor=!!")).status == 400
    assert (await api.get("/runs?limit=0")).status == 400
    assert (await api.get("/runs?limit=99999999")).status == 200
    assert (await api.get("/runs?nonsense=1")).json["detail"].startswith("query:")
    assert (await api.get("/runs?status=sideways")).status == 400


async def test_events_as_a_list_and_as_a_stream(api: Client, worker: Any) -> None:
    await api.post("/workflows", W)
    run_id = (await api.post("/runs", {"workflow": "w", "input": {}})).json["run_id"]
    async with asyncio.timeout(10), api.raw() as (reader, writer):
        writer.write(
            f"GET /runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        status, headers = await read_head(reader)
        text = b"".join([part async for part in chunks(reader)]).decode()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    kinds = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert kinds[0] == "workflow.started"
    assert kinds[-2:] == ["workflow.completed", "end"]
    listed = (await api.get(f"/runs/{run_id}/events")).json
    assert [event["type"] for event in listed] == kinds[:-1]
    first = await api.get(f"/runs/{run_id}/events?limit=3")
    rest = await api.get(first.headers["link"].split(">")[0].strip("<"))
    assert [event["seq"] for event in first.json + rest.json][:6] == [e["seq"] for e in listed][:6]
    failed = await api.get(f"/runs/{run_id}/events?type=step.completed&step=b")
    assert len(failed.json) == 1
    last = {"Accept": "text/event-stream", "Last-Event-ID": str(listed[-2]["seq"])}
    resumed = (await api.get(f"/runs/{run_id}/events", headers=last)).body.decode()
    assert resumed.count("\nevent: ") + resumed.startswith("event: ") == 2


async def test_a_run_is_cancelled_once(api: Client) -> None:
    await api.post("/workflows", W)
    run_id = (await api.post("/runs", {"workflow": "w"})).json["run_id"]
    assert (await api.post(f"/runs/{run_id}/signal/go", {"a": 1})).json["status"] == "sent"
    done = await api.post(f"/runs/{run_id}/cancel")
    assert done.json == {"run_id": run_id, "status": "cancelled"}
    assert (await api.post(f"/runs/{run_id}/cancel")).status == 409
    assert (await api.post("/runs/nobody/cancel")).status == 404
    assert (await api.post(f"/runs/{run_id}/signal/go", {})).status == 409


async def test_a_scheduled_run(api: Client) -> None:
    await api.post("/workflows", W)
    later = {"workflow": "w", "run_at": "2027-06-01T00:00:00Z"}
    made = await api.post("/runs", later)
    assert made.json["status"] == "scheduled"
    path = f"/runs/{made.json['run_id']}/scheduled"
    assert (await api.get(path)).json["workflow_id"] == "w"
    assert len((await api.get("/schedules")).json) == 1
    assert (await api("DELETE", path)).json == {"status": "cancelled"}
    assert (await api("DELETE", path)).status == 400
    assert (await api.post("/runs", later | {"run_at": "2001-01-01T00:00:00Z"})).status == 400
    assert (await api.post("/runs", {"workflow": "nope"})).status == 400
    assert (await api.post("/runs", {"workflow": ""})).status == 400


async def test_many_runs_at_once(api: Client) -> None:
    await api.post("/workflows", W)
    many = await api.post(
        "/runs/bulk", {"workflow_id": "w", "inputs": [{"i": i} for i in range(9)]}
    )
    assert (many.status, many.json["total"]) == (201, 9)

    async def live() -> bool:
        return len((await api.get("/runs?status=running&workflow=w")).json) == 9

    await eventually(live)
    dry = await api.post("/runs/cancel", {"workflow_id": "w", "dry_run": True})
    assert len(dry.json["cancelled"]) == 9
    assert (await api.post("/runs/cancel", {"workflow_id": "w"})).json["total"] == 9
    assert (await api.post("/runs/bulk", {"workflow_id": "w", "inputs": []})).status == 400
    wrong = {"workflow_id": "w", "mode": "sideways"}
    assert (await api.post("/runs/retry", wrong)).status == 400


@pytest.mark.usefixtures("worker")
async def test_a_dead_letter_is_seen_replayed_and_discarded(
    api: Client, workflow: Register
) -> None:
    await workflow("dead", step("a", task="bad"))
    run_id = (await api.post("/runs", {"workflow": "dead", "input": {}})).json["run_id"]
    await ended(api, run_id, "failed")
    [letter] = (await api.get(f"/dlq?run={run_id}")).json
    path = f"/dlq/{letter['sequence']}"
    assert "no such luck" in (await api.get(path)).json["error"]
    assert (await api.post(f"{path}/replay", {"input": {"healed": True}})).json["replayed"]
    await ended(api, run_id)
    second = (await api.post("/runs", {"workflow": "dead", "input": {}})).json["run_id"]
    await ended(api, second, "failed")
    [letter] = (await api.get("/dlq")).json
    assert (await api("DELETE", f"/dlq/{letter['sequence']}")).json["discarded"]
    assert (await api.get(path)).status == 404
    assert (await api.get("/dlq/x")).status == 404
    retried = await api.post("/runs/retry", {"workflow_id": "dead", "mode": "rerun"})
    assert [each["original_run_id"] for each in retried.json["retried"]] == [second]


async def test_triggers(api: Client) -> None:
    await api.post("/workflows", W)
    hook = {"workflow_id": "w", "webhook": {"path": "/hooks/x", "secret": "0123456789abcdef"}}
    made = await api.post("/triggers", hook)
    assert made.status == 201, made.json
    assert made.json["webhook"]["secret"] == "********"
    path = f"/triggers/{made.json['id']}"
    assert (await api.post(f"{path}/disable")).json["enabled"] is False
    assert (await api.post(f"{path}/fire")).status == 409
    assert (await api.post(f"{path}/enable")).json["enabled"] is True
    fired = await api.post(f"{path}/fire")
    assert fired.status == 201
    assert (await api.get(f"{path}/history")).json[0]["run_id"] == fired.json["run_id"]
    changed = await api("PATCH", path, {"webhook": "/hooks/y", "enabled": False})
    assert (changed.json["webhook"]["path"], changed.json["enabled"]) == ("/hooks/y", False)
    assert (await api("PATCH", path, {"cron": "* * * * *"})).status == 400
    assert (await api.post("/triggers", hook | {"surprise": 1})).status == 400
    assert "0123456789abcdef" not in (await api.get("/triggers")).body.decode()
    assert (await api("DELETE", path)).status == 200
    assert (await api.get(path)).status == 404


async def test_an_approval_by_its_token_and_by_an_operator(
    api: Client, session: Session, workflow: Register
) -> None:
    await workflow(
        "ask",
        {
            "id": "ok",
            "type": "approval",
            "config": {"subject": "ask", "timeout": 60_000_000_000},
            "depends_on": [],
        },
    )
    runs = [(await api.post("/runs", {"workflow": "ask"})).json["run_id"] for _ in range(2)]

    async def waiting() -> bool:
        return len((await api.get("/approvals")).json) == 2

    await eventually(waiting)
    assert {each["token"] for each in (await api.get("/approvals")).json} == {"********"}
    token = (await session.stores.approvals.get(f"{runs[0]}.ok")).value.token  # type: ignore[union-attr]
    events = await api.get(f"/runs/{runs[0]}/events")
    assert b"approval.requested" in events.body
    assert token.encode() not in events.body
    path = f"/runs/{runs[0]}/approval/ok"
    assert (await api.post(f"{path}?action=approve")).status == 400
    assert (await api.post(f"{path}?token={token}&action=maybe")).status == 400
    assert (await api.post(f"{path}?token=wrong&action=approve")).status == 401
    granted = await api.post(f"{path}?token={token}&action=approve", {"by": "me"})
    assert granted.json == {"run_id": runs[0], "status": "approved", "step": "ok"}
    assert (await api.post(f"{path}?token={token}&action=approve")).status == 401
    await ended(api, runs[0])
    refused = await api.post(f"/approvals/{runs[1]}/ok", {"action": "reject"})
    assert refused.json["status"] == "rejected"
    await ended(api, runs[1], "failed")


@pytest.mark.usefixtures("worker")
async def test_workers_queues_status_and_events(api: Client) -> None:
    async def seen() -> bool:
        return bool((await api.get("/workers")).json)

    await eventually(seen)
    [one] = (await api.get("/workers")).json
    assert (await api.get(f"/workers/{one['worker_id']}")).json["running"] == []
    assert {row["task"] for row in (await api.get("/queues")).json} == {"t", "bad"}
    assert (await api.get("/status?detail=true")).json["detail"]["dlq"]["total"] == 0
    assert (await api.post("/events/order.paid", {"id": 1})).status == 201
    assert (await api.post("/events/order.paid", [])).status == 400
    assert (await api.post("/events/order.*", {"id": 1})).status == 400


async def test_names_with_slashes_are_found(api: Client, workflow: Register) -> None:
    await workflow("team/a")
    assert (await api.get("/workflows/team/a")).json["name"] == "team/a"
    assert (await api.get("/workflows/team%2Fa/revisions")).json[0]["current"]
    assert (await api.get("/workflows/../../etc/passwd")).status == 404


async def test_a_run_belongs_to_the_trace_of_its_caller(api: Client) -> None:
    await api.post("/workflows", W)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    caller = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    run_id = (await api.post("/runs", {"workflow": "w"}, headers=caller)).json["run_id"]
    assert (await api.get(f"/runs/{run_id}")).json["trace_id"] == trace
    assert (await api.get("/health/cluster")).json == {"mode": "standalone", "ok": True}


async def test_the_documents_describe_the_api(api: Client) -> None:
    document = (await api.get("/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    assert "/runs/{run_id}/events" in document["paths"]
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))
    page = await api.get("/docs")
    assert b"/runs/{run_id}/events" in page.body
    assert b"<script" not in page.body
    assert b"//" not in page.body  # nothing comes from another server
    assert (await api.get("/")).headers["location"] == "/docs"
    head = await api("HEAD", "/workflows")
    assert (head.status, head.body) == (200, b"")
    wrong = await api("PUT", "/workflows")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD, POST")
