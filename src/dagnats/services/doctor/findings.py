"""What the doctor says."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """How bad a finding is: only errors make the patient ill."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Cure(StrEnum):
    """What a repair does."""

    PROVISION = "provision"
    SNAPSHOT = "snapshot"
    RETRY = "retry"


class Repair(Struct, frozen=True, omit_defaults=True):
    """What ``--repair`` would do, and to what."""

    cure: Cure
    run_id: str = ""
    step: str = ""

    @property
    def plan(self) -> str:
        """As a sentence without its end."""
        match self.cure:
            case Cure.PROVISION:
                return "create the streams, buckets and consumers that are missing"
            case Cure.SNAPSHOT:
                return f"write the snapshot of run {self.run_id} anew from its history"
            case Cure.RETRY:
                return f'begin a new attempt of step "{self.step}" of run {self.run_id}'


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is not as it should be.

    Args:
        severity: how bad it is.
        check: which check found it.
        subject: what it is about: a stream, a run.
        problem: what is wrong, with the values.
        advice: what to do; empty where a repair does it.
        repair: how it can be put right; ``None``: not by us.
    """

    severity: Severity
    check: str
    subject: str
    problem: str
    advice: str = ""
    repair: Repair | None = None


class Check(Struct, frozen=True):
    """One thing that was looked at, and how much of it."""

    name: str
    looked_at: str


class Report(Struct, frozen=True):
    """Everything that was looked at, and what was found."""

    checks: list[Check]
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; warnings are not wrong."""
        return not any(finding.severity == Severity.ERROR for finding in self.findings)
