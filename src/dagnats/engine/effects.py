"""What the machine asks the world to do. Each effect may be repeated without harm."""

from __future__ import annotations

from msgspec import Raw, Struct

from dagnats.model.event import Event
from dagnats.model.records import ApprovalToken, EventWaiter
from dagnats.model.task import TaskPayload


class Emit(Struct, frozen=True):
    """Append an event to the history of ``event.run_id``."""

    event: Event
    msg_id: str


class Dispatch(Struct, frozen=True):
    """Hand a task to the workers of ``task`` (of ``group``; of ``worker`` alone when sticky)."""

    payload: TaskPayload
    task: str
    msg_id: str
    group: str = ""
    worker: str = ""
    priority: int = 0


class SetTimer(Struct, frozen=True):
    """Append ``event`` to its run's history at ``due`` (ns since 1970).

    A step (``event.step_id``) has one timer of each ``kind``: setting it again replaces it.
    """

    kind: str
    due: int
    event: Event
    msg_id: str


class CancelTimers(Struct, frozen=True):
    """Forget the timers of one step, or with an empty ``step_id`` those of the whole run."""

    run_id: str
    step_id: str = ""


class BuryTask(Struct, frozen=True):
    """Write a dead letter."""

    task: str
    payload: TaskPayload
    error: str
    attempts: int
    group: str
    msg_id: str


class AddWaiter(Struct, frozen=True):
    """Watch EVENTS for this waiter, from stream time ``since`` (ns) on."""

    waiter: EventWaiter
    since: int


class DropWaiters(Struct, frozen=True):
    """Forget the waiters of one step, or with an empty ``step_id`` those of the whole run."""

    run_id: str
    step_id: str = ""


class OpenApproval(Struct, frozen=True):
    """Store the token and tell the approver on ``subject``."""

    token: ApprovalToken
    subject: str
    request: bytes


class CloseApproval(Struct, frozen=True):
    """The token is no longer good."""

    run_id: str
    step_id: str


class Respond(Struct, frozen=True):
    """Answer the HTTP caller that waits for this run."""

    run_id: str
    response: Raw


class BindWorker(Struct, frozen=True):
    """Tasks of this run go to this worker from now on; an empty worker undoes it."""

    run_id: str
    worker_id: str = ""


class RecallTasks(Struct, frozen=True):
    """Tell workers that tasks of this run are no longer wanted: those whose nonce begins so.

    Naming the dispatches makes a repeat harmless: after a crash the run may be further on, and
    what it runs by then (a compensator, a reopened step) must not be taken back.
    """

    run_id: str
    nonces: tuple[str, ...]


Effect = (
    Emit
    | Dispatch
    | SetTimer
    | CancelTimers
    | BuryTask
    | AddWaiter
    | DropWaiters
    | OpenApproval
    | CloseApproval
    | Respond
    | BindWorker
    | RecallTasks
)
