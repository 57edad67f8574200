"""``dagnats serve``: run the server in the foreground."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from dagnats.cli.options import App
from dagnats.cli.render.console import err, out
from dagnats.cli.render.results import emit, show
from dagnats.cli.state import current
from dagnats.errors import DagnatsError, UsageError
from dagnats.server import configview, dryrun
from dagnats.server.config import Loaded, load
from dagnats.services.text import one_line

app = App("serve", "Start the embedded NATS server with DagNats engine and API.", group=False)

_CONNECT = {
    "server": "nats_url",
    "creds": "nats_creds",
    "user": "nats_user",
    "password": "nats_password",
    "token": "nats_token",
    "nkey": "nats_nkey",
    "tls_ca": "nats_ca",
    "tls_cert": "nats_cert",
    "tls_key": "nats_key",
}
"""The shared connection options, as keys of the configuration."""


@app.add("serve")
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration file to read.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the configuration and exit.")
    ] = False,
    fail_on_port_conflict: Annotated[
        bool,
        typer.Option("--fail-on-port-conflict", help="Refuse to start when any port is taken."),
    ] = False,
    die_with_parent: Annotated[
        bool, typer.Option("--die-with-parent", help="Stop when the starting process is gone.")
    ] = False,
    paused: Annotated[
        bool, typer.Option("--paused", help="Start with the dispatch of steps held.")
    ] = False,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="JetStream data directory.")
    ] = None,
    http_addr: Annotated[
        str | None, typer.Option("--http-addr", metavar="ADDR", help="HTTP API listen address.")
    ] = None,
    nats_port: Annotated[
        str | None, typer.Option("--nats-port", metavar="PORT", help="NATS client port.")
    ] = None,
    nats_url: Annotated[
        str | None,
        typer.Option("--nats-url", metavar="URL", help="Use this NATS, not the embedded one."),
    ] = None,
    monitor_port: Annotated[
        str | None, typer.Option("--monitor-port", metavar="PORT", help="NATS monitoring port.")
    ] = None,
    nats_ws_port: Annotated[
        str | None, typer.Option("--nats-ws-port", metavar="PORT", help="NATS WebSocket port.")
    ] = None,
    nats_ws_no_tls: Annotated[
        bool, typer.Option("--nats-ws-no-tls", help="Allow plain text on the WebSocket port.")
    ] = False,
    sync: Annotated[
        str | None,
        typer.Option("--sync", metavar="WHEN", help="'always', or an interval such as 2m."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="FORMAT", help="text or json.")
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error."),
    ] = None,
) -> None:
    """Start the embedded NATS server with DagNats engine and API.

    Reads dagnats.yaml and environment variables; 'dagnats config show' prints the result.
    """
    flags: dict[str, str | bool | None] = {
        "data_dir": data_dir,
        "http_addr": http_addr,
        "nats_port": nats_port,
        "nats_url": nats_url,
        "monitor_port": monitor_port,
        "nats_ws_port": nats_ws_port,
        "nats_ws_no_tls": nats_ws_no_tls or None,
        "sync": sync,
        "log_format": log_format or ("json" if current().json else None),
        "log_level": log_level,
        "paused": paused or None,
    }
    flags |= _shared_flags(flags)
    if dry_run:
        _dry_run(config, flags, fail_on_port_conflict)
    else:
        loaded = load(config, flags=flags)
        from dagnats.worker.loop import fast_loop

        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(_serve(loaded, fail_on_port_conflict, die_with_parent))


def _shared_flags(flags: dict[str, Any]) -> dict[str, str]:
    """What the shared connection options say about an existing NATS."""
    given = current().connect
    if "context" in given:
        raise UsageError("serve does not take --context", "name the NATS with --nats-url")
    if "server" in given and flags["nats_url"]:
        raise UsageError("--server and --nats-url are the same", "give one of them")
    return {_CONNECT[name]: value for name, value in given.items()}


async def _serve(loaded: Loaded, must: bool, die_with_parent: bool) -> None:
    from dagnats.server.logs import configure
    from dagnats.server.progress import Listening, Progress
    from dagnats.server.serve import ServeOptions, serve

    def on_ready(listening: Listening) -> None:
        if not current().human:
            emit(listening, str, name=listening.nats)

    configure(loaded.settings.log_format, loaded.settings.log_level)
    options = ServeOptions(
        fail_on_port_conflict=must, die_with_parent=die_with_parent, on_ready=on_ready
    )
    people = loaded.settings.log_format == "text"
    await serve(loaded, options, Progress(err if people else None))


def _dry_run(config: Path | None, flags: dict[str, Any], must: bool) -> None:
    loaded: Loaded | None = None
    try:
        loaded = load(config, flags=flags)
        findings = dryrun.examine(loaded, must_have_ports=must)
    except UsageError:
        raise
    except DagnatsError as error:
        findings = dryrun.refused(error)
    valid = not any(finding.problem for finding in findings)
    plan = {"valid": valid, "checks": findings, "config": loaded and configview.as_json(loaded)}
    show(plan, lambda: _report(loaded, findings, valid))
    if not valid:
        raise typer.Exit(1)


def _report(loaded: Loaded | None, findings: list[dryrun.Finding], valid: bool) -> None:
    if loaded:
        out(f"Config source: {one_line(str(loaded.path or '(defaults)'))}")
        for line in configview.with_sources(loaded):
            out(f"  {one_line(line)}")
        out()
    out("Validation:")
    for finding in findings:
        said = finding.problem or finding.note
        out(f"  {'✗' if finding.problem else '✓'} {finding.check}{one_line(said and f': {said}')}")
    out(f"\nConfig {'OK' if valid else 'INVALID'}")
