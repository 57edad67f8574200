"""Which texts may name things.

Names become keys of buckets and tokens of subjects, both built by plain concatenation: whatever
could widen a subscription or change a key is refused here (``wire.md`` 16, trap 48).
"""

from __future__ import annotations

import re

from dagnats.model.problems import quote

MAX_NAME = 256
"""Longest name, in characters."""

_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+")
_TOKENS = re.compile(r"[^\s*>\x00-\x1f\x7f]+")
_KEY_RULE = "may only contain letters, digits and - / _ = . (no dot first, last or doubled)"
_RESERVED = ("history", "task", "sticky", "sleep", "scheduled", "telemetry", "dagnats")
"""First tokens of subjects that only the engine and its workers write."""


def is_key(text: str) -> bool:
    """Whether a text may be the key of a bucket."""
    return bool(_KEY.fullmatch(text)) and text[0] != "." and text[-1] != "." and ".." not in text


def is_subject(text: str) -> bool:
    """Whether a text consists of clean subject tokens, without wildcards."""
    return len(text) <= MAX_NAME and bool(_TOKENS.fullmatch(text)) and all(text.split("."))


def is_path(text: str) -> bool:
    """Whether a text is a dot path: keys separated by single dots."""
    return all(text.split("."))


def name_problem(what: str, text: str) -> str:
    """Why a text cannot be a name; ``""`` when it can.

    Args:
        what: what the text names, e.g. ``workflow name``.
        text: the name.
    """
    if not text:
        return f"{what} must not be empty"
    if len(text) > MAX_NAME:
        return f"{what} has {len(text)} characters (max {MAX_NAME})"
    return "" if is_key(text) else f"{what} {quote(text)} {_KEY_RULE}"


def step_id_problem(step_id: str) -> str:
    """Why a text cannot be a step id; ``""`` when it can."""
    if ".map." in step_id:
        return f'step ID {quote(step_id)} must not contain ".map."'
    return name_problem("step ID", step_id)


def pattern_problem(pattern: str) -> str:
    """Why a subject pattern cannot start workflows; ``""`` when it can.

    Patterns that match what the engine itself publishes would start runs because of runs, for ever.
    """
    tokens = pattern.split(".")
    if len(pattern) > MAX_NAME:
        return f"subject has {len(pattern)} characters (max {MAX_NAME})"
    if any(not _is_pattern_token(token) for token in tokens) or ">" in tokens[:-1]:
        return f"subject {quote(pattern)} is not a valid NATS subject"
    fires = tokens[0] == "trigger" and tokens[1:2] in (["fire"], ["*"], [">"])
    if fires or tokens[0].startswith(("$", "_")) or tokens[0] in (*_RESERVED, "*", ">"):
        return f"subject {quote(pattern)} matches what the engine itself publishes"
    return ""


def _is_pattern_token(token: str) -> bool:
    return token in ("*", ">") or bool(_TOKENS.fullmatch(token))
