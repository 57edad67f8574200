"""Sizes in bytes, in the two spellings of the reference."""

from __future__ import annotations


def binary_size(count: int) -> str:
    """``12.3 MiB``, as ``clean`` says it."""
    return _size(count, ("KiB", "MiB", "GiB", "TiB"))


def short_size(count: int) -> str:
    """``12.3 MB`` (of 1024), as ``status`` says it."""
    return _size(count, ("KB", "MB", "GB", "TB"))


def _size(count: int, units: tuple[str, ...]) -> str:
    if count < 1024:
        return f"{count} B"
    value = count / 1024
    for unit in units[:-1]:
        if value < 1024:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {units[-1]}"
