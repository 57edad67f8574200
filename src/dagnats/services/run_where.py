"""Runs by a typed query, as ``run list --where`` and the console understand it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from dagnats.model.run import WorkflowRun
from dagnats.services.address import parse_address
from dagnats.services.run_filter import SORTS, RunFilter, run_filter
from dagnats.services.run_query import RunPage, RunQuery, list_runs
from dagnats.services.run_rows import RunRow, row_of
from dagnats.services.session import Session
from dagnats.services.workflows import list_workflows

Types = dict[str, dict[str, str]]


def parse_where(text: str) -> RunFilter:
    """The filter that a query such as ``status:failed since:2h /timeout`` means.

    Raises:
        InvalidError: a key or a value makes no sense.
    """
    return run_filter(parse_address(f"runs {text}"))


async def narrowed(session: Session, query: RunQuery, wanted: RunFilter) -> RunQuery:
    """The query with what the filter asks for as well."""
    types, now = await _types(session), session.now()

    def accepted(run: WorkflowRun) -> bool:
        return wanted.accepts(_row(run, types), now)

    return msgspec.structs.replace(query, where=accepted)


async def list_where(session: Session, query: RunQuery, wanted: RunFilter) -> RunPage:
    """Runs that a query and a filter want, in the order the filter asks for.

    Args:
        session: the connection.
        query: what else is asked, and how many.
        wanted: what :func:`parse_where` gave.
    """
    narrow = await narrowed(session, query, wanted)
    if wanted.sort == "age" and not wanted.reverse:
        return await list_runs(session, narrow)
    page = await list_runs(session, msgspec.structs.replace(narrow, limit=None))
    types, now = await _types(session), session.now()
    # What a list is ordered by is of one kind within an order, which its type does not say.
    key = cast("Callable[[RunRow, int], float]", SORTS[wanted.sort])
    runs = sorted(page.runs, key=lambda run: key(_row(run, types), now), reverse=wanted.reverse)
    cut = runs if query.limit is None else runs[: query.limit]
    return RunPage(cut, len(cut) < len(runs), page.unreadable)


def _row(run: WorkflowRun, types: Types) -> RunRow:
    return row_of(run, types.get(run.workflow_id))


async def _types(session: Session) -> Types:
    """The types of steps by workflow: they tell who waits from who works."""
    return {
        definition.name: {step.id: step.type for step in definition.steps}
        for definition in await list_workflows(session)
    }
