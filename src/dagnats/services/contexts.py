"""Which server to talk to, and as whom: the one place where that is decided.

    flags > DAGNATS_NATS_URL > NATS_URL (deprecated) > NATS_CONTEXT > nats://127.0.0.1:4222

A context is a file of the ``nats`` tool. One named by a flag counts as a flag; its login goes to
the server it names, or to the one ``--server`` names beside it, and to no other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dagnats.errors import InvalidError, NotFoundError
from dagnats.model.codec import Wire, decode
from dagnats.wire.connection import ConnectOptions

DEFAULT_URL = "nats://127.0.0.1:4222"
CONTEXT_BYTES = 1 << 20
"""A context file larger than this is not one."""


class ConnectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about the connection; empty means that it says nothing.

    Args:
        server: NATS address, several separated by commas.
        context: name of a context of the ``nats`` tool.
        creds: path of a credentials file.
        user, password, token: plain logins.
        nkey: path of a file with an nkey seed.
        tls_ca, tls_cert, tls_key: paths of PEM files.
        timeout_s: how long connecting may take, in seconds.
    """

    server: str = ""
    context: str = ""
    creds: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    nkey: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    timeout_s: float = 5.0


class Resolved(msgspec.Struct, frozen=True):
    """How to connect, where the address came from, and what the user should be told."""

    options: ConnectOptions
    source: str
    warnings: tuple[str, ...] = ()


class ContextFile(Wire):
    """A context of the ``nats`` tool: the keys we use, and those we must not overlook."""

    url: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    creds: str = ""
    nkey: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    inbox_prefix: str = ""
    nsc: str = ""
    user_jwt: str = ""
    socks_proxy: str = ""
    jetstream_domain: str = ""
    jetstream_api_prefix: str = ""


_UNSUPPORTED = ("nsc", "user_jwt", "socks_proxy", "jetstream_domain", "jetstream_api_prefix")

_LOGIN_ENV = {
    "creds": "DAGNATS_NATS_CREDS",
    "user": "DAGNATS_NATS_USER",
    "password": "DAGNATS_NATS_PASSWORD",
    "token": "DAGNATS_NATS_TOKEN",
    "nkey": "DAGNATS_NATS_NKEY",
    "tls_ca": "DAGNATS_NATS_CA",
    "tls_cert": "DAGNATS_NATS_CERT",
    "tls_key": "DAGNATS_NATS_KEY",
}


def resolve(settings: ConnectSettings, env: Mapping[str, str] = os.environ) -> Resolved:
    """Decide where to connect and as whom.

    Raises:
        NotFoundError: the named context does not exist.
        InvalidError: it cannot be read, or asks for what we cannot do.
    """
    context = read_context(settings.context, env) if settings.context else ContextFile()
    url, source = settings.server, "--server"
    warnings: tuple[str, ...] = ()
    if not url and context.url:
        url, source = context.url, f"context {settings.context}"
    if not url:
        url, source, warnings = _url_from_env(env)
    if not url and env.get("NATS_CONTEXT"):
        context = read_context(env["NATS_CONTEXT"], env)
        url, source = context.url, f"context {env['NATS_CONTEXT']}"
    if not url:
        url, source = DEFAULT_URL, "default"
    return Resolved(_options(url, settings, context, env), source, warnings)


def _url_from_env(env: Mapping[str, str]) -> tuple[str, str, tuple[str, ...]]:
    if env.get("DAGNATS_NATS_URL"):
        return env["DAGNATS_NATS_URL"], "DAGNATS_NATS_URL", ()
    if env.get("NATS_URL"):
        warning = "NATS_URL is deprecated, use DAGNATS_NATS_URL instead"
        return env["NATS_URL"], "NATS_URL", (warning,)
    return "", "", ()


def _options(
    url: str, settings: ConnectSettings, context: ContextFile, env: Mapping[str, str]
) -> ConnectOptions:
    of_context = {
        "creds": context.creds,
        "user": context.user,
        "password": context.password,
        "token": context.token,
        "nkey": context.nkey,
        "tls_ca": context.ca,
        "tls_cert": context.cert,
        "tls_key": context.key,
    }
    login = {
        key: getattr(settings, key) or of_context[key] or env.get(name, "")
        for key, name in _LOGIN_ENV.items()
    }
    for key in ("creds", "nkey", "tls_ca", "tls_cert", "tls_key"):
        login[key] = _existing(login[key], key)
    return ConnectOptions(
        url=url,
        creds=login["creds"],
        user=login["user"],
        password=login["password"],
        token=login["token"],
        nkey_seed=login["nkey"],
        tls_ca=login["tls_ca"],
        tls_cert=login["tls_cert"],
        tls_key=login["tls_key"],
        inbox_prefix=context.inbox_prefix or "_INBOX",
        timeout_s=settings.timeout_s,
    )


def _existing(path: str, what: str) -> str:
    if not path:
        return ""
    expanded = Path(path).expanduser()
    if not expanded.is_file():
        raise NotFoundError(f"{what.replace('_', ' ')} file {path} does not exist")
    return str(expanded)


def read_context(name: str, env: Mapping[str, str] = os.environ) -> ContextFile:
    """A context of the ``nats`` tool, by name.

    Raises:
        NotFoundError: there is none of that name.
        InvalidError: the file is no context, or asks for what we cannot do.
    """
    folder = _context_folder(env)
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise InvalidError(f"{name[:64]!r} is not the name of a nats context")
    path = folder / f"{name}.json"
    try:
        with path.open("rb") as file:
            data = file.read(CONTEXT_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(
            f'nats context "{name}" not found in {folder}', "list them with 'nats context ls'"
        ) from None
    except OSError as error:
        raise InvalidError(f'nats context "{name}": {error.strerror or error}') from None
    if len(data) > CONTEXT_BYTES:
        raise InvalidError(f'nats context "{name}" is larger than {CONTEXT_BYTES} bytes')
    return _checked(decode(data, ContextFile), name)


def list_contexts(env: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the contexts there are."""
    try:
        return sorted(path.stem for path in _context_folder(env).glob("*.json"))
    except OSError:
        return []


def _checked(context: ContextFile, name: str) -> ContextFile:
    for key in _UNSUPPORTED:
        if getattr(context, key):
            raise InvalidError(
                f'nats context "{name}" sets {key}, which dagnats does not support',
                "use a context without it, or --server with --creds",
            )
    return context


def _context_folder(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "nats" / "context"
