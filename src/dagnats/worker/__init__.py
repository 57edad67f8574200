"""The SDK a user writes handlers with."""

from __future__ import annotations

from dagnats.worker.context import SyncTaskContext, TaskContext
from dagnats.worker.control import Budget, ControlPlane, ControlPlaneError, SyncControlPlane
from dagnats.worker.kinds import Watched
from dagnats.worker.outcome import Continue, NonRetryableError, Pause, RetryAfter, TaskCancelled
from dagnats.worker.worker import Worker

__all__ = [
    "Budget",
    "Continue",
    "ControlPlane",
    "ControlPlaneError",
    "NonRetryableError",
    "Pause",
    "RetryAfter",
    "SyncControlPlane",
    "SyncTaskContext",
    "TaskCancelled",
    "TaskContext",
    "Watched",
    "Worker",
]
