"""What NATS may refuse."""

from __future__ import annotations

from dagnats.errors import DagnatsError, NotFoundError


class ApiError(DagnatsError):
    """The JetStream API refused a call."""


class MissingError(NotFoundError):
    """The stream, bucket, consumer or message does not exist."""
