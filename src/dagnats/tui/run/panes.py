"""Where the panes of a run's screen are: one layout each for narrow, wide and huge terminals."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

HEAD = 2
"""Lines above the picture."""

FACTS = 3
"""Lines above the inspector's rows."""

LOWER = 7
"""Lines that the panes below the picture need at least."""

WIDE, HUGE = 100, 160
"""From which widths on two panes lie beside each other, and the inspector beside everything."""

SIDE_SHARE = 0.38
"""Share of a huge terminal's width that the inspector takes."""


class Box(Struct, frozen=True):
    """Where a pane is; without height it is hidden."""

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0


def arranged(
    width: int, height: int, rows: int, *, zoomed: str = "", lower: str = "inspector"
) -> Mapping[str, Box]:
    """Where everything is.

    Args:
        width: columns of the screen's body.
        height: its lines.
        rows: rows of the picture, its axis included.
        zoomed: the pane that has everything: ``picture``, ``events`` or ``inspector``.
        lower: which of the two lower panes a narrow terminal shows.

    Returns:
        Boxes of ``head``, ``picture``, ``scrubber``, ``events``, ``facts`` and ``inspector``.
    """
    boxes = dict.fromkeys(("head", "picture", "scrubber", "events", "facts", "inspector"), Box())
    boxes["head"] = Box(0, 0, width, HEAD)
    body = Box(0, HEAD, width, max(0, height - HEAD))
    if zoomed:
        return boxes | _zoomed(body, zoomed)
    if width >= HUGE:
        side = int(width * SIDE_SHARE)
        left = Box(0, HEAD, width - side, body.height)
        boxes |= _inspect(Box(width - side, HEAD, side, body.height))
        return boxes | _left(left, rows, least=LOWER + 3)
    upper = min(rows, max(4, body.height - 1 - (LOWER if height < 28 else body.height * 2 // 5)))
    boxes["picture"] = Box(0, body.y, width, upper)
    boxes["scrubber"] = Box(0, body.y + upper, width, 1)
    rest = Box(0, body.y + upper + 1, width, max(0, body.height - upper - 1))
    if width >= WIDE:
        half = width * 48 // 100
        boxes["events"] = Box(0, rest.y, half, rest.height)
        return boxes | _inspect(Box(half, rest.y, width - half, rest.height))
    if lower == "events":
        return boxes | {"events": rest}
    return boxes | _inspect(rest)


def _zoomed(body: Box, pane: str) -> dict[str, Box]:
    if pane == "picture":
        above = Box(body.x, body.y, body.width, max(0, body.height - 1))
        below = Box(body.x, body.y + above.height, body.width, 1)
        return {"picture": above, "scrubber": below}
    return {"events": body} if pane == "events" else _inspect(body)


def _left(left: Box, rows: int, least: int) -> dict[str, Box]:
    upper = min(rows, max(4, left.height - 1 - least))
    return {
        "picture": Box(left.x, left.y, left.width, upper),
        "scrubber": Box(left.x, left.y + upper, left.width, 1),
        "events": Box(left.x, left.y + upper + 1, left.width, max(0, left.height - upper - 1)),
    }


def _inspect(box: Box) -> dict[str, Box]:
    facts = min(FACTS, box.height)
    return {
        "facts": Box(box.x, box.y, box.width, facts),
        "inspector": Box(box.x, box.y + facts, box.width, box.height - facts),
    }
