"""The SDK a user writes handlers with."""

from __future__ import annotations

from dagnats.worker.context import SyncTaskContext, TaskContext
from dagnats.worker.outcome import Continue, NonRetryableError, Pause, RetryAfter, TaskCancelled
from dagnats.worker.worker import Worker

__all__ = [
    "Continue",
    "NonRetryableError",
    "Pause",
    "RetryAfter",
    "SyncTaskContext",
    "TaskCancelled",
    "TaskContext",
    "Worker",
]
