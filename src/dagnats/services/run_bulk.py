"""The same operation on many runs. There is no cap: they work in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, DagnatsError, InvalidError, NotFoundError, UsageError
from dagnats.model.codec import raw
from dagnats.model.event import StartPayload
from dagnats.model.run import RunStatus, WorkflowRun
from dagnats.model.workflow import WorkflowDef
from dagnats.services import audit, dlq
from dagnats.services.run_query import RunQuery, created_ns, scan_runs
from dagnats.services.runs import (
    cancel_event,
    check_input,
    new_run_id,
    reserve,
    run_is_known,
    start_event,
)
from dagnats.services.session import Session
from dagnats.services.workflows import get_workflow
from dagnats.wire.publisher import Outgoing

BATCH = 200
"""How many runs are worked on between two reports of progress."""

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""

LIVE = (RunStatus.PENDING.value, RunStatus.RUNNING.value)
RETRIABLE = (RunStatus.FAILED.value, RunStatus.COMPENSATE_FAILED.value)
CANCEL_FILTERS = {"running": LIVE[1:], "pending": LIVE[:1], "all": LIVE}
MODES = ("rerun", "replay")


class BulkQuery(Struct, frozen=True, kw_only=True):
    """Which runs of a workflow: by status, and by creation time (inclusive, ns since 1970)."""

    workflow: str
    status: str = "all"
    after: int | None = None
    before: int | None = None


class BulkFailure(Struct, frozen=True):
    """One that did not work: the zero-based index of an input, or a run, and why."""

    error: str
    index: int = -1
    run_id: str = ""


class BulkCancelled(Struct, frozen=True, kw_only=True):
    """What was cancelled, or would be; ``skipped`` had ended meanwhile."""

    cancelled: list[str]
    skipped: list[str]
    total: int
    dry_run: bool


class BulkStarted(Struct, frozen=True, kw_only=True):
    """What was started. ``failed`` names the inputs for which nothing was."""

    run_ids: list[str]
    total: int
    failed: list[BulkFailure] = []


class RetriedRun(Struct, frozen=True, omit_defaults=True):
    """A failed run that was retried; ``new_run_id`` is empty when it was replayed in place."""

    original_run_id: str
    new_run_id: str = ""


class BulkRetried(Struct, frozen=True, kw_only=True):
    """What was retried, or would be; ``skipped`` had no dead letters to replay."""

    retried: list[RetriedRun]
    skipped: list[str]
    total: int
    dry_run: bool
    failed: list[BulkFailure] = []


async def cancel_all(
    session: Session, query: BulkQuery, dry_run: bool = False, progress: Progress | None = None
) -> BulkCancelled:
    """Cancel every live run that matches, oldest first.

    Args:
        session: the connection.
        query: which; ``status`` is ``running``, ``pending`` or ``all`` of these.
        dry_run: only say which.
        progress: told how far it is.

    Raises:
        UsageError: the query makes no sense.
    """
    if query.status not in CANCEL_FILTERS:
        raise UsageError(
            f'invalid status filter: "{query.status}" (must be running, pending, or all)'
        )
    runs = await _matching(session, query, CANCEL_FILTERS[query.status])
    if dry_run:
        ids = [run.run_id for run in runs]
        return BulkCancelled(cancelled=ids, skipped=[], total=len(ids), dry_run=True)
    cancelled: list[str] = []
    skipped: list[str] = []
    for done, batch in _batches(runs):
        fresh = await session.stores.runs.get_many([f"run.{run.run_id}" for run in batch])
        live = {e.value.run_id: e.value for e in fresh.values() if e.value.status in LIVE}
        now = session.now()
        messages = [cancel_event(run_id, run.reopened, now) for run_id, run in live.items()]
        await session.bus.publisher.publish_all(messages)
        cancelled += [run.run_id for run in batch if run.run_id in live]
        skipped += [run.run_id for run in batch if run.run_id not in live]
        if progress:
            progress(done, len(runs))
    if cancelled:
        await audit.record(session, "run.cancel", query.workflow, {"runs": len(cancelled)})
    return BulkCancelled(cancelled=cancelled, skipped=skipped, total=len(runs), dry_run=False)


async def bulk_start(
    session: Session, workflow: str, inputs: Sequence[bytes], progress: Progress | None = None
) -> BulkStarted:
    """Start a run per input. All inputs are checked before anything starts.

    Raises:
        UsageError: there are no inputs.
        NotFoundError: there is no such workflow.
        InvalidError: naming each input that is wrong, by zero-based index.
    """
    if not inputs:
        raise UsageError("no inputs: use positional args or --from-file")
    definition = await get_workflow(session, workflow)
    checked = _checked(definition, inputs)
    run_ids: list[str] = []
    failed: list[BulkFailure] = []
    for start in range(0, len(checked), BATCH):
        batch = checked[start : start + BATCH]
        try:
            run_ids += await _start_batch(session, definition, batch)
        except DagnatsError as error:
            # What was started stays reported; the rest is left alone.
            rest = range(start, len(checked))
            failed = [BulkFailure(error.message, index=index) for index in rest]
            break
        if progress:
            progress(start + len(batch), len(checked))
    return BulkStarted(run_ids=run_ids, total=len(run_ids), failed=failed)


def _checked(definition: WorkflowDef, inputs: Sequence[bytes]) -> list[Raw]:
    checked: list[Raw] = []
    problems: list[str] = []
    for index, data in enumerate(inputs):
        try:
            checked.append(check_input(definition, data))
        except InvalidError as error:
            problems.append(f"input[{index}]: {error.message}")
    if problems:
        more = f"{len(problems)} of {len(inputs)} inputs are wrong; nothing was started"
        raise InvalidError(problems[0], more, tuple(problems))
    return checked


async def _start_batch(
    session: Session, definition: WorkflowDef, inputs: Sequence[Raw]
) -> list[str]:
    stored, now = raw(definition), session.now()
    run_ids: list[str] = []
    messages: dict[str, Outgoing] = {}
    for given in inputs:
        run_id, fresh = await reserve(session, definition, given)
        run_ids.append(run_id)
        if run_id not in messages and (fresh or not await run_is_known(session, run_id)):
            payload = StartPayload(workflow_def=stored, input=given)
            messages[run_id] = start_event(run_id, payload, now)
    await session.bus.publisher.publish_all(list(messages.values()))
    return run_ids


async def retry_all(
    session: Session,
    query: BulkQuery,
    mode: str,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> BulkRetried:
    """Retry every failed run that matches, oldest first.

    Args:
        session: the connection.
        query: which; its ``status`` is not looked at.
        mode: ``rerun``: a new run with the original input; ``replay``: the dead letters of the
            run are replayed and it goes on where it failed.
        dry_run: only say which.
        progress: told how far it is.

    Raises:
        UsageError: the query makes no sense, or the mode is neither.
        NotFoundError: ``rerun`` of a workflow that is gone.
    """
    if mode not in MODES:
        raise UsageError('mode must be "rerun" or "replay"')
    runs = await _matching(session, query, RETRIABLE)
    if mode == "rerun":
        return await _rerun_all(session, query.workflow, runs, dry_run, progress)
    return await _replay_all(session, runs, dry_run, progress)


async def _rerun_all(
    session: Session,
    workflow: str,
    runs: list[WorkflowRun],
    dry_run: bool,
    progress: Progress | None,
) -> BulkRetried:
    if dry_run or not runs:
        planned = [RetriedRun(run.run_id) for run in runs]
        return BulkRetried(retried=planned, skipped=[], total=len(runs), dry_run=dry_run)
    stored = raw(await get_workflow(session, workflow))
    retried: list[RetriedRun] = []
    for done, batch in _batches(runs):
        pairs = [(run, new_run_id()) for run in batch]
        messages = [
            start_event(
                new_id,
                StartPayload(workflow_def=stored, input=run.input, origin_run_id=run.run_id),
                session.now(),
            )
            for run, new_id in pairs
        ]
        await session.bus.publisher.publish_all(messages)
        retried += [RetriedRun(run.run_id, new_id) for run, new_id in pairs]
        if progress:
            progress(done, len(runs))
    return BulkRetried(retried=retried, skipped=[], total=len(runs), dry_run=False)


async def _replay_all(
    session: Session, runs: list[WorkflowRun], dry_run: bool, progress: Progress | None
) -> BulkRetried:
    letters: dict[str, list[int]] = {}
    async for letter in session.stores.dead_letters.scan():
        letters.setdefault(letter.run_id, []).append(letter.sequence)
    retried: list[RetriedRun] = []
    failed: list[BulkFailure] = []
    for done, run in enumerate(runs, 1):
        sequences = letters.get(run.run_id, [])
        try:
            if sequences and not dry_run:
                # The newest is the failure that ended the run; it takes the older ones with it.
                await dlq.replay(session, sequences[-1])
        except (ConflictError, InvalidError, NotFoundError) as error:
            failed.append(BulkFailure(error.message, run_id=run.run_id))
            continue
        if sequences:
            retried.append(RetriedRun(run.run_id))
        if progress:
            progress(done, len(runs))
    skipped = [run.run_id for run in runs if run.run_id not in letters]
    return BulkRetried(
        retried=retried,
        skipped=skipped,
        total=len(retried) + len(skipped) + len(failed),
        dry_run=dry_run,
        failed=failed,
    )


async def _matching(
    session: Session, query: BulkQuery, statuses: tuple[str, ...]
) -> list[WorkflowRun]:
    if not query.workflow:
        raise UsageError("--workflow is required")
    if query.after is not None and query.before is not None and query.before <= query.after:
        raise UsageError("before must be after after", "swap the two times")
    wanted = RunQuery(workflow=query.workflow, after=query.after, before=query.before, limit=None)
    found = [run async for run in scan_runs(session, wanted) if run.status in statuses]
    return sorted(found, key=lambda run: (created_ns(run), run.run_id))


def _batches(runs: list[WorkflowRun]) -> Iterator[tuple[int, list[WorkflowRun]]]:
    for start in range(0, len(runs), BATCH):
        batch = runs[start : start + BATCH]
        yield start + len(batch), batch
