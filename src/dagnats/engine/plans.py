"""Definitions that were read, checked and compiled before."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TypeVar

from dagnats.engine.plan import Plan
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, encode
from dagnats.model.validate import normalise, validate
from dagnats.model.workflow import WorkflowDef

K = TypeVar("K")
V = TypeVar("V")

PLANS = 2_000
"""Compiled definitions kept; one that fell out is compiled again when it is needed."""

MAX_TEXT = 64 * 1024
"""Bytes of a definition's text that is remembered as it came."""

Known = tuple[str, Plan]
"""The content hash of a definition, and its compiled form."""


class Plans:
    """Compiled definitions by their content hash, and by the text they came as."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._texts: OrderedDict[bytes, Known] = OrderedDict()

    def known(self, revision: str) -> Plan | None:
        """The compiled form of a definition by its hash, if it is at hand."""
        return self._plans.get(revision)

    def of(self, definition: WorkflowDef) -> Known:
        """A definition that was checked before."""
        digest = revision_of(definition)
        plan = self._plans.get(digest) or Plan(definition)
        _remember(self._plans, digest, plan)
        return digest, plan

    def check(self, definition: WorkflowDef) -> Known:
        """A definition from outside.

        Raises:
            InvalidError: it breaks a rule.
        """
        problems = validate(definition)
        if problems:
            raise InvalidError(f"invalid workflow: {problems[0].text}")
        return self.of(normalise(definition))

    def read(self, text: bytes) -> Known:
        """A definition as it came; most runs start with a text that was seen before.

        Raises:
            InvalidError: it is none, or breaks a rule.
        """
        known = self._texts.get(text) or self.check(decode(text, WorkflowDef))
        if len(text) <= MAX_TEXT:
            _remember(self._texts, text, known)
        return known


def _remember(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > PLANS:
        kept.popitem(last=False)


def revision_of(definition: WorkflowDef) -> str:
    """The content hash under which a definition is kept."""
    return hashlib.sha256(encode(definition)).hexdigest()[:32]
