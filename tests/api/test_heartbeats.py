"""Heartbeats over REST: who may ping, by which address, and what is shown."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.domain.vocabulary import Role
from tests.api.conftest import door
from tests.support.databases import another_database

NIGHTLY = {"name": "Nightly reindex", "every_secs": 86_400, "grace_secs": 1800, "incident_class": "rag.staleness"}
Keys = tuple[httpx.AsyncClient, dict[Role, str]]


@pytest.fixture(scope="module")
async def keys(database_url: str) -> AsyncIterator[Keys]:
    """A client that shows an administrator's key, and a key of each role."""
    async with another_database(database_url) as url, door(url) as client:
        gateway = client._transport.app.state.gateway  # type: ignore[attr-defined]
        made = {role: await gateway.keys.create(role.value, role) for role in Role}
        client.headers["x-api-key"] = made[Role.ADMIN]
        yield client, made


async def test_a_heartbeat_is_written_pinged_and_shown(keys: Keys) -> None:
    api, _ = keys
    written = await api.put("/api/v1/heartbeats/reindex", json=NIGHTLY)
    assert (written.status_code, written.json()["enabled"]) == (200, True)
    assert (await api.get("/api/v1/heartbeats/reindex/status")).json()["status"] == "waiting"
    for _ in range(2):
        pinged = await api.post("/v1/heartbeats/reindex/ping", content=b"whatever curl sends")
        assert (pinged.status_code, pinged.json()["status"]) == (200, "alive")
    shown = (await api.get("/api/v1/heartbeats/reindex/status")).json()
    assert (shown["failing_since"], shown["last_ping_at"] < shown["due_at"] < shown["overdue_at"]) == (None, True)
    refused = await api.put("/api/v1/heartbeats/reindex", json=NIGHTLY | {"incident_class": "no.such"})
    assert (refused.status_code, "incident_class" in refused.json()["error"]["message"]) == (400, True)
    for unknown in (api.post("/api/v1/heartbeats/no/ping"), api.get("/api/v1/heartbeats/no/status")):
        assert (await unknown).status_code == 404
    assert (await api.get("/api/v1/heartbeats/reindex/ping")).status_code == 405
    assert (await api.delete("/api/v1/heartbeats/reindex")).status_code == 204
    assert (await api.post("/api/v1/heartbeats/reindex/ping")).status_code == 404


async def test_a_key_that_may_only_send_pings_by_header_or_address(
    keys: Keys,
) -> None:
    api, made = keys
    sender, viewer = made[Role.INGEST], made[Role.VIEWER]
    await api.put("/api/v1/heartbeats/sync", json=NIGHTLY)
    ping = "/api/v1/heartbeats/sync/ping"
    assert (await api.post(ping, headers={"x-api-key": "wrong"})).status_code == 401
    assert (await api.post(f"{ping}/wrong")).status_code == 401
    assert (await api.post(ping, headers={"x-api-key": sender})).status_code == 200
    assert (await api.post(f"{ping}/{sender}")).status_code == 200
    assert (await api.post(f"{ping}/{viewer}")).status_code == 403
    status = "/api/v1/heartbeats/sync/status"
    assert (await api.get(status, headers={"x-api-key": sender})).status_code == 403
    assert (await api.get(status, headers={"x-api-key": viewer})).status_code == 200
