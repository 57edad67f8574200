"""``dagnats ui``: the console."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagnats.cli.execute import run_async
from dagnats.cli.options import App
from dagnats.cli.render.console import colours, err, out
from dagnats.cli.render.sizes import binary_size
from dagnats.cli.state import current, session
from dagnats.cli.texts import whole
from dagnats.errors import UsageError

if TYPE_CHECKING:
    from dagnats.services.contexts import ConnectSettings
    from dagnats.tui.launch import Launch

app = App("ui", "Open the console.", group=False)

LISTEN = "127.0.0.1:8091"
"""Where ``--serve`` listens unless told otherwise."""


@app.add("ui")
def ui(
    address: Annotated[
        str,
        typer.Argument(metavar="[ADDRESS]", help="What to show first, e.g. ':runs status:failed'."),
    ] = "",
    run: Annotated[str, typer.Option("--run", metavar="RUN_ID", help="Show a run.")] = "",
    screen: Annotated[str, typer.Option("--screen", metavar="NAME", help="Show a screen.")] = "",
    only: Annotated[
        str, typer.Option("--filter", metavar="TERMS", help="Filter it, e.g. 'wf:etl-* since:1h'.")
    ] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Change nothing; actions are shown, but off.")
    ] = False,
    theme: Annotated[
        str, typer.Option("--theme", metavar="NAME", help="dark, light, contrast, mono or ansi.")
    ] = "",
    ascii_only: Annotated[
        bool, typer.Option("--ascii", help="Draw with seven-bit glyphs.")
    ] = False,
    no_mouse: Annotated[
        bool, typer.Option("--no-mouse", help="Leave the mouse to the terminal.")
    ] = False,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the view and leave; needs no terminal.")
    ] = False,
    width: Annotated[
        int | None,
        typer.Option(
            "-w", "--width", metavar="N", parser=whole(40, 1000), help="Columns to print."
        ),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option("--height", metavar="N", parser=whole(10, 2000), help="Rows."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show a private server with traffic.")
    ] = False,
    replay: Annotated[str, typer.Option("--replay", metavar="FILE", help="Show a recording.")] = "",
    record: Annotated[
        str, typer.Option("--record", metavar="FILE", help="Write a recording, and leave.")
    ] = "",
    serve: Annotated[
        bool, typer.Option("--serve", help="Offer the console to browsers on this machine.")
    ] = False,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where --serve listens.")
    ] = LISTEN,
) -> None:
    """Watch and steer everything, full screen.

    Every screen has an address, such as ':runs wf:etl status:failed /timeout'; type ? inside for
    the keys.
    """
    _one_of({"--serve": serve, "--record": record, "--print": print_only})
    _one_of({"--demo": demo, "--replay": replay, "--record": record})
    _one_of({"--demo": demo, "--print": print_only})
    if serve:
        from dagnats.tui.browser import serve as offer

        offer(listen, _again())
        return
    if record:
        streams = run_async(_record(Path(record)))
        err(f"{streams} streams, {binary_size(Path(record).stat().st_size)} in {record}")
        return
    launch = _launch(
        _address(address, run, screen, only),
        theme=theme,
        ascii_only=ascii_only,
        read_only=read_only,
        replay=replay,
        mouse=not no_mouse,
    )
    if print_only:
        size = shutil.get_terminal_size((100, 24))
        out(_printed(launch, width or size.columns, height or 48), end="")
        return
    from dagnats.tui import launch as start

    raise typer.Exit(start.demo(launch) if demo else start.run(launch))


def _one_of(options: dict[str, object]) -> None:
    """Refuse two options of which one would be silently ignored.

    Raises:
        UsageError: two are given.
    """
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} do not go together", "leave one of them out")


def _again() -> list[str]:
    """The arguments of this command line, without those that are for ``--serve``."""
    words, kept = iter(sys.argv[1:]), list[str]()
    for word in words:
        if word == "--listen":
            next(words, None)
        elif word not in ("ui", "--serve") and not word.startswith("--listen="):
            kept.append(word)
    return kept


def _address(address: str, run: str, screen: str, only: str) -> str:
    """The address that the options mean.

    Raises:
        UsageError: they mean two.
    """
    if sum(map(bool, (address, run, screen))) > 1:
        raise UsageError("give one of ADDRESS, --run and --screen")
    first = f"run {run}" if run else screen or address or ("runs" if only else "home")
    whole_address = f"{first.strip().removeprefix(':')} {only}".strip()
    from dagnats.services.address import parse_address
    from dagnats.tui.screens import find

    find(parse_address(whole_address).kind)
    return whole_address


def _launch(
    address: str, *, theme: str, ascii_only: bool, read_only: bool, replay: str, mouse: bool
) -> Launch:
    from dagnats.tui.launch import Launch

    reason = "read-only was asked for" if read_only else ""
    if os.environ.get("DAGNATS_UI_READ_ONLY"):
        reason = "DAGNATS_UI_READ_ONLY is set"
    return Launch(
        settings=_settings(),
        address=address,
        theme=_theme(theme),
        ascii_only=ascii_only,
        read_only=reason,
        replay=replay,
        mouse=mouse,
        options=_options(),
    )


def _settings() -> ConnectSettings:
    import msgspec

    from dagnats.services.contexts import ConnectSettings

    return msgspec.convert(current().connect, ConnectSettings)


def _options() -> str:
    """The connection options as they were given, without secrets, for commands that are copied."""
    shown = {"server": "-s", "context": "--context", "creds": "--creds"}
    given = current().connect
    return " ".join(
        f"{flag} {shlex.quote(given[key])}" for key, flag in shown.items() if key in given
    )


def _theme(name: str) -> str:
    from dagnats.tui.theme import THEMES

    full = name if name.startswith("dagnats-") or not name else f"dagnats-{name}"
    if full and full not in THEMES:
        known = ", ".join(theme.removeprefix("dagnats-") for theme in THEMES)
        raise UsageError(f"there is no theme {name!r}", f"there are {known}")
    return full


def _printed(launch: Launch, width: int, height: int) -> str:
    from dagnats.tui.launch import show

    return asyncio.run(show(launch, width, height, colours=colours()))


async def _record(path: Path) -> int:
    from dagnats.services.recording import record

    async with session() as opened:
        return len((await record(opened, path)).streams)
