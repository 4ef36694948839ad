"""The link in a mail that asks for a word: looking decides nothing, and a word counts for the step it is about."""

import pytest

from app.domain.vocabulary import ChannelName
from app.service.clicks import OneClick
from app.store.database import pool
from app.store.facts import FactStore
from tests.api.conftest import Service
from tests.api.test_click import hired
from tests.support.playing import over, status, waiting_run


async def link(service: Service, run: str, user: str, step: str = "ask") -> str:
    """The path of the link that a mail would carry."""
    async with pool(service.environment["DATABASE_URL"], 1) as connections:
        one_click = OneClick(FactStore(connections), "", 60)
        made = await one_click.decide(run, step, f"user:{user}", ChannelName.EMAIL)
    assert made is not None
    return made


async def test_a_scanner_that_follows_every_link_decides_nothing(service: Service) -> None:
    alice = await hired(service)
    run = await waiting_run(service, alice)
    path = await link(service, run, alice)
    for method in ("HEAD", "GET"):
        answer = await service.http.request(method, path)
        assert answer.status_code == 200
    assert "&lt;b&gt;Drain&lt;/b&gt; it?" in answer.text
    assert "Drain &lt;it&gt;" in answer.text
    assert f"Approve as {alice}" in answer.text
    wordless = await service.http.post(path)
    assert (wordless.status_code, "word: must be one of approve, reject" in wordless.text) == (400, True)
    assert await status(service, run) == "waiting"


@pytest.mark.parametrize(("word", "becomes"), [("approve", "completed"), ("reject", "failed")])
async def test_one_click_decides_and_a_second_changes_nothing(service: Service, word: str, becomes: str) -> None:
    alice = await hired(service)
    run = await waiting_run(service, alice)
    path = await link(service, run, alice)
    for _ in range(2):
        answer = await service.http.post(path, data={"word": word})
        assert answer.status_code == 200, answer.text
        assert "Your word is not waited for any more" in answer.text
    assert await over(service, run) == becomes
    log = (await service.http.get(f"/api/v1/playbook-runs/{run}/log")).json()["lines"]
    assert sum("by the link in a mail" in line["text"] for line in log) == 1


async def test_a_link_is_for_one_step_of_one_run_and_for_who_was_asked(service: Service) -> None:
    alice, bob = [await hired(service) for _ in range(2)]
    run = await waiting_run(service, alice)
    elsewhere = await service.http.post(await link(service, run, alice, step="other"), data={"word": "approve"})
    assert "Your word is not waited for any more" in elsewhere.text
    unasked = await service.http.post(await link(service, run, bob), data={"word": "approve"})
    assert (unasked.status_code, "was not asked" in unasked.text) == (403, True)
    taking = (await link(service, run, alice)).replace("/decide/", "/click/")
    assert (await service.http.post(taking)).status_code == 404
    assert await status(service, run) == "waiting"
