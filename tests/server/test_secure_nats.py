"""NATS with TLS and logins, and a leaf that joins a hub: what docs/deployment.md promises."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dagnats.errors import UnreachableError
from dagnats.server.binary import find_binary
from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.wire.connection import ConnectOptions, connect
from tests.conftest import eventually
from tests.server.http.client import Client
from tests.server.test_serve import Place

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


async def run(*words: str) -> None:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*words, stdout=quiet, stderr=quiet)
    assert await process.wait() == 0, words


async def certificates(place: Path) -> None:
    """An authority, and a certificate each for the server and a client."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    ca = ("-keyout", f"{place}/ca.key", "-out", f"{place}/ca.pem", "-subj", "/CN=ca")
    await run("openssl", "req", "-x509", *key, *ca)
    for name in ("server", "client"):
        await run(
            *("openssl", "req", "-x509", *key, "-CA", f"{place}/ca.pem"),
            *("-CAkey", f"{place}/ca.key", "-keyout", f"{place}/{name}.key"),
            *("-out", f"{place}/{name}.pem", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-addext", "basicConstraints=CA:FALSE"),
        )


@asynccontextmanager
async def nats(place: Path, port: int, *lines: str) -> AsyncIterator[None]:
    """A nats-server that is not ours."""
    conf = place / "nats.conf"
    conf.write_text("\n".join((f"listen: 127.0.0.1:{port}", *lines)))
    process = await asyncio.create_subprocess_exec(
        str(find_binary()), "-c", str(conf), stderr=asyncio.subprocess.DEVNULL
    )

    async def there() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await eventually(there)
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_serve_on_a_nats_with_tls_client_certificates_and_a_login(tmp_path: Path) -> None:
    await certificates(tmp_path)
    port, http = free_port(), free_port()
    tls = f"cert_file: '{tmp_path}/server.pem', key_file: '{tmp_path}/server.key'"
    lines = (
        f"jetstream {{ store_dir: '{tmp_path}/js' }}",
        f"tls {{ {tls}, ca_file: '{tmp_path}/ca.pem', verify: true }}",
        "authorization { user: engine, password: s3cret }",
    )
    place = Place(tmp_path)
    place.env |= {"DAGNATS_NATS_PASSWORD": "s3cret", "DAGNATS_NATS_USER": "engine"}
    place.env |= {
        "DAGNATS_NATS_CA": f"{tmp_path}/ca.pem",
        "DAGNATS_NATS_CERT": f"{tmp_path}/client.pem",
        "DAGNATS_NATS_KEY": f"{tmp_path}/client.key",
    }
    words = (f"--nats-url=tls://127.0.0.1:{port}", f"--http-addr=127.0.0.1:{http}")
    async with nats(tmp_path, port, *lines):
        process = await place.spawn("serve", "--json", *words)
        try:
            assert process.stdout is not None
            ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
            assert ready["status"] == "ready", ready
            assert (await Client("127.0.0.1", http).get("/health")).status == 200
            for wrong in (
                {"user": "engine", "password": "wrong"},
                {"tls_ca": ""},  # an authority nobody knows
                {"tls_cert": "", "tls_key": ""},
            ):
                with pytest.raises(UnreachableError):
                    await connect(options(tmp_path, port, **wrong))
            bus = await connect(options(tmp_path, port))
            assert (await bus.api("INFO"))["streams"] > 30
            await bus.close()
        finally:
            process.terminate()
            _, written = await process.communicate()
    assert b"s3cret" not in written


def options(place: Path, port: int, **changed: str) -> ConnectOptions:
    given = {
        "url": f"tls://127.0.0.1:{port}",
        "user": "engine",
        "password": "s3cret",
        "tls_ca": f"{place}/ca.pem",
        "tls_cert": f"{place}/client.pem",
        "tls_key": f"{place}/client.key",
    }
    return ConnectOptions(**(given | changed), timeout_s=1.0)  # type: ignore[arg-type]


async def test_a_leaf_joins_its_hub(tmp_path: Path) -> None:
    hub, leaf, port = free_port(), free_port(), free_port()
    lines = (
        f"leafnodes {{ listen: 127.0.0.1:{leaf}",
        "  authorization { user: site, password: s3cret } }",
    )
    async with nats(tmp_path, hub, *lines):
        server = EmbeddedServer(
            NatsSettings(
                data_dir=tmp_path / "leaf",
                port=port,
                sync="2m",
                leaf_remotes=(f"nats-leaf://site:s3cret@127.0.0.1:{leaf}",),
            )
        )
        await server.start()
        ours = await connect(ConnectOptions(url=server.url))
        theirs = await connect(ConnectOptions(url=f"nats://127.0.0.1:{hub}"))
        heard = await theirs.nc.subscribe("site.>")
        await theirs.nc.flush()

        async def crossed() -> bool:
            await ours.publish("site.news", b"hello")
            return bool(heard.pending_msgs)

        await eventually(crossed)
        await ours.close()
        await theirs.close()
        await server.stop()
