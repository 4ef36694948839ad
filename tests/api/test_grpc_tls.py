"""TLS over gRPC: nothing older than 1.3, and certificates instead of keys. The gateway is its own process."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import trustme

from app.api.grpc import tls
from app.api.grpc.pb import alerts_pb2, incidents_pb2
from app.child import CannotStart
from app.stack import free_port
from tests.api.conftest import NOBODY_THERE, command, process
from tests.support.databases import another_database
from tests.support.grpc import client, house, refused

S = grpc.StatusCode
ASKED = incidents_pb2.ListIncidentsRequest()
AUTHORITY = trustme.CA()


def credentials(who: trustme.LeafCert | None) -> grpc.ChannelCredentials:
    root = AUTHORITY.cert_pem.bytes()
    return grpc.ssl_channel_credentials(root, *(files(who) if who else (None, None)))


def files(cert: trustme.LeafCert) -> tuple[bytes, bytes]:
    return cert.private_key_pem.bytes(), b"".join(part.bytes() for part in cert.cert_chain_pems)


def settings(folder: Path, kind: trustme.KeyType) -> dict[str, str]:
    """A server certificate of the kind, as the operator names it."""
    key, certificate = files(AUTHORITY.issue_cert("localhost", key_type=kind))
    for name, content in (("key", key), ("cert", certificate), ("client_ca", AUTHORITY.cert_pem.bytes())):
        (folder / name).write_bytes(content)
    return {f"LLM_IM__SERVER__GRPC_TLS_{name.upper()}_PATH": str(folder / name) for name in ("key", "cert")}


@pytest.fixture(scope="module")
async def environment(database_url: str) -> AsyncIterator[dict[str, str]]:
    """Of a gateway that has a database, and one key."""
    async with another_database(database_url) as url:
        yield os.environ | {
            "DATABASE_URL": url, "TEMPORAL_ADDRESS": NOBODY_THERE, "API_PORT": "0",
            "LLM_IM__SERVER__METRICS_PORT": "0",
        }  # fmt: skip


async def handshake(port: int, version: ssl.TLSVersion) -> str | None:
    """The version that was agreed on by a client that speaks this one only; None when it was shown out."""
    context = ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])

    def shake() -> str | None:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as secure:
                    return secure.version()
            except (ssl.SSLError, ConnectionError):
                return None

    return await asyncio.to_thread(shake)


@pytest.mark.parametrize("kind", [trustme.KeyType.ECDSA, trustme.KeyType.RSA])
async def test_tls_1_3_and_nothing_older(environment: dict[str, str], tmp_path: Path, kind: trustme.KeyType) -> None:
    port, http = free_port(), free_port()
    ports = {"GRPC_PORT": str(port), "LLM_IM__SERVER__HTTP_PORT": str(http)}
    async with process("serve", environment | settings(tmp_path, kind) | ports, http, "/health/live"):
        assert await handshake(port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        assert await handshake(port, ssl.TLSVersion.TLSv1_2) is None
        async with client(f"localhost:{port}", credentials(None)) as caller:
            await caller.incidents.ListIncidents(ASKED)
        async with client(f"localhost:{port}") as plain:
            assert await plain.incidents.ListIncidents(ASKED, timeout=5).code() is S.UNAVAILABLE


async def test_a_certificate_is_as_good_as_a_key(environment: dict[str, str], tmp_path: Path) -> None:
    made = await command("key", "create", "--name", "ops", "--role", "viewer", environment=environment)
    key = (("x-api-key", made.said.strip()),)
    roles = {"edge-agent": "ingest", "console.example": "viewer"}
    port, http = free_port(), free_port()
    server = settings(tmp_path, trustme.KeyType.ECDSA) | {
        "LLM_IM__SERVER__GRPC_TLS_CLIENT_CA_PATH": str(tmp_path / "client_ca"),
        "LLM_IM__SERVER__GRPC_CLIENT_ROLES": json.dumps(roles),
        "GRPC_PORT": str(port), "LLM_IM__SERVER__HTTP_PORT": str(http),
    }  # fmt: skip
    agent = AUTHORITY.issue_cert("somewhere.example", common_name="edge-agent")
    console = AUTHORITY.issue_cert("console.example")
    stranger = AUTHORITY.issue_cert("stranger.example")
    forged = trustme.CA().issue_cert("console.example")
    alert = alerts_pb2.CreateAlertRequest(name="slow", source="edge")
    async with process("serve", environment | server, http, "/health/live"):
        async with client(f"localhost:{port}", credentials(agent)) as caller:
            assert (await caller.ingestion.SubmitAlert(alert)).alert.name == "slow"
            no = await refused(caller.incidents.ListIncidents(ASKED))
            assert (no.status, "ingest" in no.message) == (S.PERMISSION_DENIED, True)
        async with client(f"localhost:{port}", credentials(console)) as caller:
            assert (await caller.incidents.ListIncidents(ASKED)).total_count == 1
        async with client(f"localhost:{port}", credentials(stranger)) as caller:
            no = await refused(caller.incidents.ListIncidents(ASKED))
            assert no.status is S.UNAUTHENTICATED
            assert "stranger.example" in no.message
            assert (await caller.incidents.ListIncidents(ASKED, metadata=key)).total_count == 1
            wrong = await refused(caller.incidents.ListIncidents(ASKED, metadata=(("x-api-key", "im" + "x" * 30),)))
            assert wrong.status is S.UNAUTHENTICATED
        for nobody in (forged, None):
            async with client(f"localhost:{port}", credentials(nobody)) as caller:
                assert await caller.incidents.ListIncidents(ASKED, timeout=5, metadata=key).code() is S.UNAVAILABLE


@pytest.mark.parametrize(("broken", "said"), [
    ("cert", r"cert \(server.grpc_tls_cert_path\) holds no certificate in PEM"),
    ("key", "gRPC cannot listen on .* with what server.grpc_tls_cert_path and the other grpc_tls settings name"),
])  # fmt: skip
async def test_a_file_that_is_no_certificate_or_key_is_named(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, said: str
) -> None:
    settings(tmp_path, trustme.KeyType.ECDSA)
    monkeypatch.setenv(tls.VARIABLE, tls.useless_cipher(tmp_path / "cert"))
    (tmp_path / broken).write_text("something else")
    with pytest.raises(CannotStart, match=said):
        async with house(database_url, grpc_tls_cert_path=tmp_path / "cert", grpc_tls_key_path=tmp_path / "key"):
            pass


async def test_where_old_tls_would_be_spoken_nothing_starts(database_url: str, tmp_path: Path) -> None:
    """In this process gRPC was loaded long before anybody knew of a certificate."""
    settings(tmp_path, trustme.KeyType.ECDSA)
    with pytest.raises(CannotStart, match=r"refuse TLS 1\.2"):
        async with house(database_url, grpc_tls_cert_path=tmp_path / "cert", grpc_tls_key_path=tmp_path / "key"):
            pass
