"""dagnats: a durable DAG workflow engine on NATS JetStream."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagnats.errors import DagnatsError, RunEndedError
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

__version__ = "0.1.0"

__all__ = [
    "Continue",
    "DagnatsError",
    "NonRetryableError",
    "Pause",
    "RetryAfter",
    "RunEndedError",
    "SyncTaskContext",
    "TaskCancelled",
    "TaskContext",
    "Worker",
    "__version__",
]

_HOMES = {
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
