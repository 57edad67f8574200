"""Every error a user can meet.

    DagnatsError                exit 1, code "failed"
    ├── UsageError              exit 2, the command line or the call was wrong
    ├── InvalidError            a document, payload or value breaks a rule
    ├── NotFoundError           the named thing does not exist
    ├── AmbiguousError          a prefix names more than one thing
    ├── ConflictError           the thing exists but its state forbids the operation
    ├── RefusedError            policy, limit or permission forbids the operation
    ├── TooLargeError           a payload exceeds the server's limit
    ├── UnreachableError        no server, or it did not answer in time
    └── RunEndedError           exit 3, a run that was waited for ended other than completed

Each carries one line saying what is wrong (with the offending value), one line saying what to
do, and a stable ``code`` that JSON output and the HTTP API use.
"""

from __future__ import annotations


class DagnatsError(Exception):
    """Something a user can be told about.

    Args:
        message: one line, what is wrong, with the offending value.
        hint: one line, what to do about it; empty when there is nothing to add.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DagnatsError):
    """The command line or the call was wrong."""

    code = "usage"
    exit_code = 2


class InvalidError(DagnatsError):
    """A document, payload or value breaks a rule.

    Args:
        problems: every problem found, the first of which is ``message``.
    """

    code = "invalid"

    def __init__(self, message: str, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.problems = problems or (message,)


class NotFoundError(DagnatsError):
    """The named thing does not exist."""

    code = "not_found"


class AmbiguousError(DagnatsError):
    """A prefix names more than one thing."""

    code = "ambiguous"


class ConflictError(DagnatsError):
    """The thing exists, but its state forbids the operation."""

    code = "conflict"


class RefusedError(DagnatsError):
    """Policy, a limit or a missing permission forbids the operation."""

    code = "refused"


class TooLargeError(DagnatsError):
    """A payload exceeds the limit of the connected server."""

    code = "too_large"


class UnreachableError(DagnatsError):
    """There is no server, or it did not answer in time."""

    code = "unreachable"


class RunEndedError(DagnatsError):
    """A run that was watched or waited for ended other than completed."""

    code = "run_ended"
    exit_code = 3
