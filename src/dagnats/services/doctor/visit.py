"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection

from dagnats.errors import DagnatsError
from dagnats.services.doctor import deployment, records
from dagnats.services.doctor.findings import Check, Finding, Report, Severity
from dagnats.services.session import Session

RUNS = 1000
"""How many runs are examined unless another number is asked for."""

DEPLOYMENT: dict[str, Callable[[Session], AsyncIterator[Finding]]] = {
    "topology": deployment.topology,
    "stored": deployment.stored,
    "server": deployment.server,
    "working": deployment.working,
    "sequences": deployment.sequences,
}
"""Checks by name, in the order in which they are made."""

LIVE = ("topology", "server", "working", "sequences")
AT_REST = ("stored", "sequences")
"""Checks of a deployment at work, and of what a stopped one left."""


async def examine(
    session: Session,
    limit: int | None = RUNS,
    progress: Callable[[int], None] | None = None,
    checks: Collection[str] = LIVE,
) -> Report:
    """Look at everything.

    Args:
        session: the connection.
        limit: how many runs to examine, those written last first; ``None``: all.
        progress: called with the number of runs examined so far.
        checks: which of :data:`DEPLOYMENT` to make.
    """
    made, findings = list[Check](), list[Finding]()
    for name in checks:
        findings += await _looked(name, DEPLOYMENT[name](session))
        made.append(Check(name, ""))
    examined = 0
    try:
        async for finding in records.runs(session, limit):
            examined += finding is None
            if finding is not None:
                findings.append(finding)
            if progress is not None:
                progress(examined)
    except DagnatsError as error:
        findings.append(_unfinished("runs", error))
    ill = {finding.subject for finding in findings if finding.check == "runs"}
    made.append(Check("runs", f"{examined + len(ill)} runs"))
    return Report(made, findings)


async def _looked(name: str, found: AsyncIterator[Finding]) -> list[Finding]:
    try:
        return [finding async for finding in found]
    except DagnatsError as error:
        return [_unfinished(name, error)]


def _unfinished(name: str, error: DagnatsError) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        check=name,
        subject="check",
        problem=f"could not be finished: {error.message}",
        advice=error.hint,
    )
