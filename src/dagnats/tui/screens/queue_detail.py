"""What the cursor is on among queues and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagnats.model.records import WorkerRegistration
from dagnats.model.times import MILLISECOND, read_time
from dagnats.services.run_rows import RunRow
from dagnats.services.workers import WorkerDetail
from dagnats.tui.format import NONE, age, plural, span, spark
from dagnats.tui.host import Host
from dagnats.tui.line import Line, line, wrapped
from dagnats.tui.screens.listing import labelled, paired, stamp, title, when
from dagnats.tui.screens.queue_rows import QueueLine

NAMES = 12
"""Names of steps, workers and runs that are listed."""


def queue_detail(
    host: Host,
    q: QueueLine,
    ring: Sequence[int],
    oldest: Mapping[str, int],
    waiting: Sequence[RunRow],
    width: int,
) -> list[Line]:
    """A queue: how it is, who serves it, who needs it, who waits."""
    inner = width - 1
    lines = [Line().add(q.task, "text bold", most=inner)]
    lines += _verdict(q, inner)
    at = oldest.get(q.task)
    lines += paired(
        [
            labelled("waits", q.row.pending),
            labelled("in hand", q.row.in_flight),
            labelled("redelivered", q.row.redelivered),
            labelled("oldest", age(host.now() - at) if at else NONE),
            labelled("lease", span(q.row.ack_wait_ms * MILLISECOND) if q.row.ack_wait_ms else NONE),
        ],
        inner,
    )
    lines.append(labelled("2 min", spark(ring, min(60, inner - 13), host.look.ascii_only)))
    lines += [Line(), title("SERVED BY", inner), *_workers(q)]
    lines += [Line(), title("NEEDED BY", inner), *_users(q)]
    if waiting:
        lines += [Line(), title("RUNS THAT WAIT HERE", inner)]
        for run in waiting:
            row = Line().add(run.run_id[:8], "accent", link=f"go:run {run.run_id}")
            since = age(host.now() - run.created_ns)
            lines.append(row.gap(2).add(run.workflow, "text").gap(2).add(since, "muted"))
    return [Line().gap().extend(each) for each in lines]


def _verdict(q: QueueLine, width: int) -> list[Line]:
    text, role = q.gate
    if role == "bad":
        told = f"{plural(q.row.pending, 'task')} wait, and no live worker asks for {q.task}."
        return [
            *wrapped(told, width, "bad"),
            *wrapped("Start a worker that handles it; they begin at once then.", width, "muted"),
            Line(),
        ]
    if text:
        return [*wrapped(f"{text}.", width, role), Line()]
    return [line("Served." if q.served else "Nothing waits.", "ok"), Line()]


def _workers(q: QueueLine) -> list[Line]:
    if not q.workers:
        known = "somebody who is not in the directory" if q.row.served else "nobody"
        return [line(known, "muted" if q.row.served else "warn")]
    rows: list[Line] = []
    for worker in q.workers[:NAMES]:
        row = Line().add(worker.worker_id, "accent", link="section.workers")
        rows.append(row.gap(2).add(worker.hostname, "muted"))
    return rows


def _users(q: QueueLine) -> list[Line]:
    if not q.users:
        return [line("no registered workflow", "muted")]
    rows: list[Line] = []
    for user in q.users[:NAMES]:
        flow, _, step = user.partition("/")
        row = Line().add(flow, "accent", link=f"go:flow {flow}").add(f" / {step}", "text")
        rows.append(row)
    if len(q.users) > NAMES:
        rows.append(line(f"and {len(q.users) - NAMES} more", "muted"))
    return rows


def worker_detail(
    host: Host, worker: WorkerRegistration, detail: WorkerDetail | None, width: int
) -> list[Line]:
    """A worker: who it is, and what it has in hand."""
    inner, now = width - 1, host.now()
    lines = [Line().add(worker.worker_id, "text bold", most=inner), Line()]
    lines += paired(
        [
            labelled("host", worker.hostname or NONE),
            labelled("process", worker.pid or NONE),
            labelled("make", f"{worker.language} {worker.version}".strip() or NONE),
            labelled("at once", worker.max_tasks or NONE),
            labelled("heard of", when(worker.last_seen, now)),
            labelled("speaks", worker.transport or NONE),
        ],
        inner,
    )
    if detail is not None and detail.cancelled_tasks_skipped:
        lines.append(labelled("skipped", f"{detail.cancelled_tasks_skipped} of cancelled runs"))
    lines += [labelled(key, value, "muted") for key, value in worker.metadata.items()]
    lines += [Line(), title("IN HAND", inner), *_in_hand(detail, now)]
    lines += [Line(), title("SERVES", inner)]
    lines += [line(task, "text") for task in worker.task_types]
    return [Line().gap().extend(each) for each in lines]


def _in_hand(detail: WorkerDetail | None, now: int) -> list[Line]:
    if detail is None:
        return [line("asking…", "muted")]
    if not detail.running:
        return [line("nothing", "muted")]
    rows: list[Line] = []
    for step in detail.running:
        row = Line().add(step.run_id[:8], "accent", link=f"go:run {step.run_id}").gap(2)
        row.add(f"{step.workflow} / {step.step_id}", "text").gap(2)
        since = read_time(step.started_at)
        rows.append(row.add(age(now - since) if since else stamp(step.started_at), "muted"))
    return rows
