"""dagnats: a durable DAG workflow engine on NATS JetStream."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagnats.client import Client
    from dagnats.errors import DagnatsError, RunEndedError
    from dagnats.sync_client import SyncClient
    from dagnats.worker import (
        Continue,
        NonRetryableError,
        Pause,
        RetryAfter,
        SyncTaskContext,
        TaskCancelled,
        TaskContext,
        Worker,
    )
    from dagnats.workflow import Workflow
    from dagnats.workflow_terms import Rate, Retry, SkipIf, When

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Continue",
    "DagnatsError",
    "NonRetryableError",
    "Pause",
    "Rate",
    "Retry",
    "RetryAfter",
    "RunEndedError",
    "SkipIf",
    "SyncClient",
    "SyncTaskContext",
    "TaskCancelled",
    "TaskContext",
    "When",
    "Worker",
    "Workflow",
    "__version__",
]

_HOMES = {
    "dagnats.client": ("Client",),
    "dagnats.sync_client": ("SyncClient",),
    "dagnats.workflow": ("Workflow",),
    "dagnats.workflow_terms": ("Rate", "Retry", "SkipIf", "When"),
    "dagnats.errors": ("DagnatsError", "RunEndedError"),
    "dagnats.worker": (
        "Continue",
        "NonRetryableError",
        "Pause",
        "RetryAfter",
        "SyncTaskContext",
        "TaskCancelled",
        "TaskContext",
        "Worker",
    ),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line starts without any of them."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'dagnats' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
