"""What one tree of runs may use of the system (``engine.md`` CP-5)."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import ConflictError
from dagnats.model.records import TokenBucket
from dagnats.model.run import WorkflowRun, is_terminal
from dagnats.model.times import MINUTE
from dagnats.runtime.retention import SPAWNED
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.runtime_proof import ControlPlaneError
from dagnats.services.session import Session

TRIES = 10
"""How often a bucket of tokens is tried to be changed while others change it as well."""


class RuntimeLimits(Struct, frozen=True, kw_only=True):
    """Limits per root run; 0 allows none."""

    max_active_runs: int = 100
    max_defs: int = 500
    max_depth: int = 3
    max_registers_per_minute: int = 60


async def own_definitions(session: Session, root: str) -> list[str]:
    """The definitions that a tree has registered for itself."""
    return await session.stores.definitions.keys(f"agent.{root}.*")


async def active_runs(session: Session, root: str, besides: str = "") -> int:
    """How many runs of a tree have not ended, the root included.

    Known are those that handlers started (they are written down) and, from the snapshots of those
    at work, the children of their ``sub_workflow`` steps.

    Args:
        session: the connection.
        root: the root run.
        besides: a run that does not count.
    """
    stores = session.stores
    keys = await stores.engine_state.keys(f"{SPAWNED}.{root}.*")
    spawned = {key.rpartition(".")[2] for key in keys}
    level, seen, count = {root, *spawned} - {besides}, {besides}, 0
    while level:
        found = await stores.runs.get_many(RUN_PREFIX + run_id for run_id in level)
        runs = [entry.value for entry in found.values()]
        live = [run for run in runs if not is_terminal(run.status)]
        # One that has no snapshot yet has only just been started.
        count += len(live) + len(level) - len(runs)
        for run in runs:
            if is_terminal(run.status) and run.run_id in spawned:
                await stores.engine_state.delete(f"{SPAWNED}.{root}.{run.run_id}")
        seen |= level
        level = {child for run in live for child in _children(run)} - seen
    return count


def _children(run: WorkflowRun) -> list[str]:
    return [state.child_run_id for state in run.steps.values() if state.child_run_id]


async def take_registration(session: Session, root: str, limits: RuntimeLimits) -> None:
    """Count a registration against the rate.

    Raises:
        ControlPlaneError: there were too many within a minute.
    """
    limit, key = limits.max_registers_per_minute, f"runtime_register.{root}"
    for _ in range(TRIES):
        bucket, revision = await session.stores.rate_limits.latest(key)
        left = _refilled(bucket, limit, session.now())
        if left.tokens < 1:
            break
        left.tokens -= 1
        try:
            await session.stores.rate_limits.update(key, left, revision)
        except ConflictError:
            continue
        return
    raise ControlPlaneError(
        f"the tree of run {root} may register {limit} definitions a minute", "rate_limited"
    )


def _refilled(bucket: TokenBucket | None, limit: int, now: int) -> TokenBucket:
    """``wire.md`` 2.1: whole tokens only, so that no fraction is lost or made."""
    if bucket is None:
        return TokenBucket(tokens=limit, last_refill_ns=now, limit=limit, period_ns=MINUTE)
    gained = (now - bucket.last_refill_ns) * limit // MINUTE
    if gained > 0:
        bucket.tokens, bucket.last_refill_ns = min(limit, bucket.tokens + gained), now
    bucket.tokens = min(bucket.tokens, limit)
    bucket.limit = limit
    return bucket
