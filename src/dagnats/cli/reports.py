"""What commands print as JSON where it holds values of the services; see ``outputs.py``.

Imported when a command prints, not when it starts.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from dagnats.cli.outputs import Output
from dagnats.model.records import DeadLetter
from dagnats.model.run import WorkflowRun
from dagnats.services.dlq import ReplayFailure
from dagnats.services.run_bulk import BulkFailure, RetriedRun
from dagnats.services.run_events import RunEvent
from dagnats.services.run_rerun import Change
from dagnats.services.run_why import Reason


class Inspected(Output):
    """``run inspect``: reasons are those why it does not go on, while it has not ended."""

    run: WorkflowRun
    failures: list[RunEvent] = []
    dead_letters: list[DeadLetter] = []
    reasons: list[Reason] = []


class StartedRuns(Output):
    """``run bulk``: ``failed`` are the inputs for which nothing was started."""

    run_ids: list[str]
    total: int
    failed: list[BulkFailure] = []


class RetriedRuns(Output, kw_only=True):
    """``run retry-all``: in a dry run ``retried`` are those that would be."""

    retried: list[RetriedRun]
    skipped: list[str] = []
    failed: list[BulkFailure] = []
    total: int
    dry_run: bool


class Plan(Output):
    """``run rerun --plan``: which steps would run, and how the input differs."""

    run_id: str
    workflow: str
    step: str = field(name="from")
    reuse: list[str]
    execute: list[str]
    input: Any
    changes: list[Change]


class Why(Output):
    """``run why``."""

    run_id: str
    reasons: list[Reason]


class ReplayedLetters(Output):
    """``dlq replay --run``."""

    run_id: str
    replayed: int
    sequences: list[int]
    failed: list[ReplayFailure] = []
