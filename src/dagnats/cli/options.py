"""What every command has in common: Typer apps, the shared options, checks of arguments.

The shared options belong to every command and group, so they may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from dagnats.cli.state import FORMATS, current
from dagnats.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., None])

HELP_NAMES = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EPILOG = "Global options (output, connection): see 'dagnats --help'."
SECRET_BYTES = 64 * 1024


class _Plain:
    """Reads text, numbers and lists as Typer does, but without pydantic.

    Importing pydantic would take a quarter of the time of a whole command.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a parameter; what is not plain is left to Typer."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        described = param.type_descriptor
        if described.parameter_info.parser:
            return described.parameter_info.parser(value)
        if described.annotation in (str, bool):
            return value
        if described.annotation == list[str]:
            return list(value)
        param._runtime_param = None  # noqa: SLF001
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _plainly(param: Any) -> Any:
    # Where Typer keeps what it would make itself. A Typer that keeps it elsewhere does make it.
    param._runtime_param = _Plain()  # noqa: SLF001
    return param


class _Mine:
    """What commands and groups have in common: the shared options, read plainly."""

    params: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_shared())
        for param in self.params:
            _plainly(param)

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help``."""
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        return None if option is None else _plainly(option)


class Command(_Mine, TyperCommand):
    """A command that has the shared options as well."""


class Group(_Mine, TyperGroup):
    """A group that has the shared options as well, and refuses unknown sub-commands clearly."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The sub-command that is meant.

        Raises:
            UsageError: there is none of that name.
        """
        if args[0] not in self.commands:
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"run '{ctx.command_path} --help'"
            raise UsageError(f"unknown {self.name} subcommand: {args[0]}", hint)
        return super().resolve_command(ctx, args)


class DefaultGroup(Group):
    """A group whose first sub-command is also meant when none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default sub-command in front, unless another is named or help is wanted."""
        words = [word for word in args if not word.startswith("-")]
        wants_help = bool({"-h", "--help"} & set(args))
        if not (words and words[0] in self.commands) and not (wants_help and not words):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """A Typer app in the manner of this program: plain help, no completion options of its own."""

    def __init__(self, name: str, help: str, *, group: bool = True, default: bool = False) -> None:  # noqa: A002
        super().__init__(
            name=name,
            help=help,
            cls=DefaultGroup if default else Group,
            callback=_show_help if group else None,
            invoke_without_command=group,
            context_settings=HELP_NAMES,
            rich_markup_mode=None,
            add_completion=False,
            epilog=EPILOG,
        )

    def add(self, name: str, **settings: Any) -> Callable[[Function], Function]:
        """Register a command; its docstring is its help."""
        return self.command(
            name, cls=Command, context_settings=HELP_NAMES, epilog=EPILOG, **settings
        )


def _show_help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        from dagnats.cli.render.console import out

        out(ctx.get_help())


def _set_json(value: bool) -> None:
    if value and not current().json:
        current().format = "json"


def _set_debug(value: bool) -> None:
    if value:
        current().debug = True


def _set_format(value: str) -> None:
    if not value:
        return
    if value not in FORMATS:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(FORMATS)}")
    current().format = value


def _into(key: str) -> Callable[[str], None]:
    def remember(value: str) -> None:
        if value:
            current().connect[key] = value

    return remember


def _secret_into(key: str) -> Callable[[str], None]:
    def remember(value: str) -> None:
        if value:
            current().connect[key] = secret(value)

    return remember


def secret(value: str) -> str:
    """A secret given as ``@FILE`` is read from there: command lines are seen by others."""
    if not value.startswith("@"):
        return value
    with Path(value[1:]).expanduser().open("rb") as file:
        return file.read(SECRET_BYTES).decode("utf-8", "replace").strip()


def _hidden(*names: str, then: Callable[..., None]) -> Any:
    return typer.Option(*names, callback=then, expose_value=False, hidden=True, show_default=False)


@cache
def _shared() -> list[Any]:
    """The shared options as click knows them, made by Typer once."""
    maker = typer.Typer(add_completion=False, rich_markup_mode=None)

    def options(
        json: Annotated[
            bool,
            typer.Option(
                "--json", help="Output in JSON format.", callback=_set_json, expose_value=False
            ),
        ] = False,
        output_format: Annotated[str, _hidden("-o", "--output-format", then=_set_format)] = "",
        server: Annotated[str, _hidden("-s", "--server", then=_into("server"))] = "",
        context: Annotated[str, _hidden("--context", then=_into("context"))] = "",
        creds: Annotated[str, _hidden("--creds", then=_into("creds"))] = "",
        user: Annotated[str, _hidden("--user", then=_into("user"))] = "",
        password: Annotated[str, _hidden("--password", then=_secret_into("password"))] = "",
        token: Annotated[str, _hidden("--token", then=_secret_into("token"))] = "",
        nkey: Annotated[str, _hidden("--nkey", then=_into("nkey"))] = "",
        tls_ca: Annotated[str, _hidden("--tls-ca", then=_into("tls_ca"))] = "",
        tls_cert: Annotated[str, _hidden("--tls-cert", then=_into("tls_cert"))] = "",
        tls_key: Annotated[str, _hidden("--tls-key", then=_into("tls_key"))] = "",
        debug: Annotated[bool, _hidden("--debug", then=_set_debug)] = False,
    ) -> None:
        """Carry the annotations from which Typer makes the options."""

    maker.command()(options)
    return list(typer.main.get_command(maker).params)
