"""Runs that are gone without having ended: what they held goes to who comes next."""

from __future__ import annotations

from collections.abc import Collection

from dagnats.engine.flow import Flow, SlotWait


def named(flow: Flow) -> set[str]:
    """Every run that holds, or waits for, something."""
    runs = {run_id for gate in flow.runs.values() for run_id in gate.holders}
    runs |= {run_id for gate in flow.runs.values() for _, run_id in gate.pending}
    runs |= {_run_of(holder) for gate in flow.tasks.values() for holder in gate.holders}
    runs |= {wait.run_id for gate in flow.tasks.values() for wait in gate.waiting}
    runs |= {wait.run_id for waits in flow.held.values() for wait in waits}
    return runs | set(flow.locks.values())


def forget(flow: Flow, gone: Collection[str]) -> tuple[list[str], list[SlotWait]]:
    """Free everything that runs hold which are no more.

    Returns:
        The runs that got a run slot by it, and the dispatches that got a task slot.
    """
    for key, run_id in list(flow.locks.items()):
        if run_id in gone:
            flow.unlock(key, run_id)
    for workflow, waits in list(flow.held.items()):
        for run_id in {wait.run_id for wait in waits} & set(gone):
            flow.drop_held(workflow, run_id)
    granted: list[SlotWait] = []
    for task, gate in list(flow.tasks.items()):
        held = [*gate.holders, *(wait.holder for wait in gate.waiting)]
        for holder in held:
            run_id = _run_of(holder)
            if run_id in gone:
                granted += flow.release(task, run_id, holder[len(run_id) + 1 :])
    promoted: list[str] = []
    for workflow, gate in list(flow.runs.items()):
        for run_id in {*gate.holders, *(waiting for _, waiting in gate.pending)} & set(gone):
            promoted += flow.release_run(workflow, run_id)
    return (
        [run_id for run_id in promoted if run_id not in gone],
        [wait for wait in granted if wait.run_id not in gone],
    )


def _run_of(holder: str) -> str:
    return holder.partition(".")[0]
