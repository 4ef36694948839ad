"""The link in a mail: looking changes nothing, one click takes the incident, for one person and a limited time."""

import asyncio
import re
from uuid import uuid4

import pytest

from app.domain.notification import Delivery
from app.domain.vocabulary import ChannelName, MessageKind
from app.net.signing import BadLink, Click, Signer
from app.service.clicks import OneClick
from app.store.database import pool
from app.store.facts import FactStore
from tests.api.conftest import Service

HOSTILE = '<script>alert(1)</script>"&'


async def link(service: Service, incident: str, user: str, max_age_secs: float = 60) -> str:
    """The path of the link that a page by mail would carry."""
    async with pool(service.environment["DATABASE_URL"], 1) as connections:
        made = await OneClick(FactStore(connections), "", max_age_secs)(delivery(incident, f"user:{user}"))
    assert made is not None
    return made


def delivery(incident: str, target: str, **more: object) -> Delivery:
    return Delivery.model_validate(
        {
            "id": "", "key": "k", "incident_id": incident, "cycle": 0, "rung": 0, "level": 1, "target": target,
            "channel": ChannelName.EMAIL, "address": {"email": "a@example.com"},
        } | more
    )  # fmt: skip


async def hired(service: Service) -> str:
    name = f"c-{uuid4()}"
    answer = await service.http.put(f"/api/v1/users/{name}", json={"name": name, "email": "a@example.com"})
    assert answer.status_code == 200
    return name


async def status(service: Service, incident: str) -> tuple[str, str | None]:
    shown = (await service.http.get(f"/api/v1/incidents/{incident}")).json()
    return shown["status"], shown["acknowledged_by"]


async def test_a_scanner_that_follows_every_link_takes_nothing(service: Service) -> None:
    alice = await hired(service)
    incident = await service.incident(title=f"{HOSTILE} {uuid4()}")
    path = await link(service, incident, alice)
    for method in ("GET", "HEAD", "GET"):
        answer = await service.http.request(method, path)
        assert answer.status_code == 200
    page = await service.http.get(path)
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert '<form method="post">' in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert await status(service, incident) == ("NEW", None)


async def test_one_click_takes_it_and_a_second_changes_nothing(service: Service) -> None:
    alice = await hired(service)
    incident = await service.incident()
    path = await link(service, incident, alice)
    for _ in range(2):
        answer = await service.http.post(path)
        assert answer.status_code == 200, answer.text
        assert "It is yours" in answer.text
    assert await status(service, incident) == ("ACKNOWLEDGED", alice)
    events = (await service.http.get(f"/api/v1/incidents/{incident}/timeline")).json()
    [taken] = [event for event in events if event["event_type"] == "acknowledged"]
    assert (taken["actor"]["name"], taken["reason"]) == (alice, "by the link in a mail")


async def test_who_comes_too_late_is_told_so(service: Service) -> None:
    alice, bob = [await hired(service) for _ in range(2)]
    incident = await service.incident()
    mine, theirs = await link(service, incident, alice), await link(service, incident, bob)
    assert (await service.http.post(theirs)).status_code == 200
    late = await service.http.post(mine)
    assert (late.status_code, "It was taken already." in late.text, bob in late.text) == (200, True, True)
    assert await status(service, incident) == ("ACKNOWLEDGED", bob)
    assert (await service.http.post(f"/api/v1/incidents/{incident}/resolve", json={})).status_code == 200
    over = await service.http.post(await link(service, incident, await hired(service)))
    assert (over.status_code, "RESOLVED" in over.text) == (409, True)


async def test_a_link_that_was_touched_or_is_too_old_opens_nothing(service: Service) -> None:
    alice = await hired(service)
    incident = await service.incident()
    path = await link(service, incident, alice)
    assert (await service.http.put(f"/api/v1/users/{alice}", json={"name": "x", "active": False})).status_code == 200
    for wrong in (path, path[:-2] + "xx", "/click/" + path[8:].swapcase(), "/click/nonsense", "/click/%00"):
        for method in ("GET", "POST"):
            answer = await service.http.request(method, wrong)
            assert answer.status_code == 403, wrong
            assert "not valid, or no longer" in answer.text
    assert await status(service, incident) == ("NEW", None)


def test_a_link_is_for_one_deed_of_one_person_on_one_incident() -> None:
    click = Click(about="i", user="alice")
    signed = Signer(b"0" * 32, 60).sign(click)
    assert re.fullmatch(r"[\w.-]+", signed)
    assert Signer(b"0" * 32, 60).read(signed) == click
    for signer in (Signer(b"1" * 32, 60), Signer(b"0" * 32, -1)):
        with pytest.raises(BadLink):
            signer.read(signed)


@pytest.mark.parametrize(
    "more",
    [{"channel": ChannelName.SMS}, {"target": "external:a@example.com"}, {"kind": MessageKind.RESOLVED}],
)
async def test_only_a_page_by_mail_to_somebody_of_the_directory_carries_one(
    database_url: str, more: dict[str, object]
) -> None:
    async with pool(database_url, 1) as connections:
        facts = FactStore(connections)
        told = delivery(str(uuid4()), "user:alice")
        assert await OneClick(facts, "http://x", 60)(told) is not None
        assert await OneClick(facts, "http://x", 0)(told) is None
        assert await OneClick(facts, "http://x", 60)(told.model_copy(update=more)) is None


async def test_whoever_asks_first_makes_the_secret_and_all_have_the_same(database_url: str) -> None:
    async with pool(database_url, 10) as connections:
        name = str(uuid4())
        made = await asyncio.gather(*(FactStore(connections).secret(name) for _ in range(10)))
        assert len(set(made)) == 1
        assert len(made[0]) == 32
