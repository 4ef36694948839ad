"""Playbooks open issues, one per incident: on GitHub and in Jira."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from app.actions.base import Action, Failed
from app.automation import GitHub, Jira, Playbooks
from app.config import Settings
from app.net.http import Http
from tests.support.acting import ID, LINK, NOW, action, asked, at, incident, ran, tools
from tests.support.github import REPOSITORY, TOKEN, FakeGitHub, says
from tests.support.jira import LOGIN, FakeJira
from tests.support.receivers import SILENCE, Reply

TEXT = "Look at the provider.\n\nThen at the cache."


@pytest.fixture
async def github() -> AsyncIterator[FakeGitHub]:
    up = FakeGitHub()
    await up.comes_up()
    yield up
    await up.goes_down()


@pytest.fixture
async def jira() -> AsyncIterator[FakeJira]:
    up = FakeJira()
    await up.comes_up()
    yield up
    await up.goes_down()


def on_github(http: Http, github: FakeGitHub, token: str = TOKEN, repository: str | None = REPOSITORY) -> Action:
    own = GitHub(url=github.base, token=SecretStr(token), repository=repository)
    return action("github_issue", tools(http, Settings(playbooks=Playbooks(github=own))))


def in_jira(http: Http, jira: FakeJira, token: str = LOGIN[1], project: str | None = "OPS") -> Action:
    own = Jira(url=jira.base, email=LOGIN[0], api_token=SecretStr(token), project=project)
    return action("jira_issue", tools(http, Settings(playbooks=Playbooks(jira=own))))


async def test_an_issue_is_opened_once_and_closed_when_undone(http: Http, github: FakeGitHub) -> None:
    one = on_github(http, github)
    assert await one.check(asked(one, text=TEXT), at()) == "open an issue in acme/chat"
    assert github.issues == []
    done = await ran(one, at(), text=TEXT, labels=["llm"])
    [issue] = github.issues
    assert issue["title"] == "[P2] chat answers slowly"
    assert {label["name"] for label in issue["labels"]} == {f"incident-{ID}", "llm"}
    assert issue["body"].startswith(f"{TEXT}\n\nIncident {LINK}")
    assert done.output == {"repository": REPOSITORY, "number": 1, "url": issue["html_url"], "opened": True}
    assert await one.verify(asked(one, text=TEXT), done, at()) == "acme/chat#1 is open"
    assert await one.check(asked(one, text=TEXT), at()) == "nothing: acme/chat#1 is there already"
    await one.undo(asked(one, text=TEXT), done, at())
    assert (issue := github.issues[0])["state"] == "closed"
    assert issue["state_reason"] == "not_planned"


async def test_another_run_finds_the_issue_and_does_not_close_it(http: Http, github: FakeGitHub) -> None:
    one = on_github(http, github)
    await ran(one, at(), text=TEXT)
    again = await ran(one, at(key="run-2/notify"), text="something else")
    assert (again.output["number"], again.output["opened"]) == (1, False)
    await one.undo(asked(one, text=TEXT), again, at(key="run-2/notify"))
    assert [issue["state"] for issue in github.issues] == ["open"]
    await ran(one, at(incident(id="another")), text=TEXT)
    assert len(github.issues) == 2


async def test_an_issue_whose_answer_was_lost_is_found_as_this_steps(http: Http, github: FakeGitHub) -> None:
    one = on_github(http, github)
    github.forgets = 1
    with pytest.raises(Failed, match="answered 502") as no:
        await ran(one, at(), text=TEXT)
    assert (no.value.retry_after is None, no.value.doubtful) == (False, True)
    done = await ran(one, at(), text=TEXT)
    assert (len(github.issues), done.output["opened"]) == (1, True)


async def test_labels_that_were_dropped_are_said(http: Http, github: FakeGitHub) -> None:
    github.pushes = False
    done = await ran(on_github(http, github), at(), text=TEXT)
    assert "without its label, so that a second run will not find it" in done.summary


@pytest.mark.parametrize(
    ("reply", "after"),
    [
        (Reply(429, {"retry-after": "9"}), timedelta(seconds=9)),
        (says({"message": "You have exceeded a secondary rate limit"}, 403), timedelta(minutes=1)),
        (
            Reply(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 90)}),
            timedelta(seconds=90),
        ),
        (says({"message": "Resource not accessible by personal access token"}, 403), None),
        (Reply(301, {"location": "http://127.0.0.1/repositories/1"}), None),
        (Reply(500), timedelta(seconds=2)),
        (Reply(200, body=b"<html>"), timedelta(seconds=2)),
        (SILENCE, timedelta(seconds=2)),
    ],
)
async def test_what_github_refuses_is_tried_again_if_it_may_pass(
    http: Http, hasty: Http, github: FakeGitHub, reply: Reply, after: timedelta | None
) -> None:
    github.replies.append(reply)
    with pytest.raises(Failed) as no:
        await ran(on_github(hasty if reply is SILENCE else http, github), at(), text=TEXT)
    assert (no.value.retry_after, no.value.doubtful) == (after, False)
    await ran(on_github(http, github), at(), text=TEXT)
    assert len(github.issues) == 1


async def test_a_wrong_token_or_an_unknown_repository_never_works(http: Http, github: FakeGitHub) -> None:
    for one, why in (
        (on_github(http, github, token="ghp_2"), "answered 401"),
        (on_github(http, github, repository="acme/unknown"), "answered 404"),
        (on_github(http, github, repository=None), "name a repository"),
    ):
        with pytest.raises(Failed, match=why) as no:
            await one.check(asked(one, text=TEXT), at())
        assert no.value.retry_after is None
        with pytest.raises(Failed, match=why):
            await ran(one, at(), text=TEXT)
    with pytest.raises(AssertionError):
        action("github_issue", tools(http))


async def test_a_jira_issue_is_opened_once_and_done_when_undone(http: Http, jira: FakeJira) -> None:
    one = in_jira(http, jira)
    assert await one.check(asked(one, text=TEXT), at()) == "open a Task in OPS"
    assert jira.issues == {}
    done = await ran(one, at(), text=TEXT, labels=["llm"])
    issue = jira.issues["OPS-1"]
    assert (issue["summary"], issue["labels"]) == ("[P2] chat answers slowly", [f"incident-{ID}", "llm"])
    assert f"Incident {LINK}" in json.dumps(issue["description"])
    assert done.output == {"key": "OPS-1", "url": f"{jira.base}/browse/OPS-1", "opened": True}
    assert await one.verify(asked(one, text=TEXT), done, at()) == "OPS-1 is To Do"
    assert await one.check(asked(one, text=TEXT), at()) == "nothing: OPS-1 is there already"
    again = await ran(one, at(key="run-2/notify"), text=TEXT)
    assert again.output["opened"] is False
    await one.undo(asked(one, text=TEXT), again, at())
    assert jira.issues["OPS-1"]["status"] == "To Do"
    for _ in range(2):
        assert (await one.undo(asked(one, text=TEXT), done, at())).summary == "OPS-1 is Done"
    assert list(jira.issues) == ["OPS-1"]


async def test_a_jira_issue_whose_answer_was_lost_is_found(http: Http, jira: FakeJira) -> None:
    one = in_jira(http, jira)
    jira.forgets = 1
    with pytest.raises(Failed, match="answered 503") as no:
        await ran(one, at(), text=TEXT)
    assert (no.value.retry_after, no.value.doubtful) == (timedelta(seconds=30), True)
    assert (await ran(one, at(), text=TEXT)).summary == "OPS-1 was there already"
    assert list(jira.issues) == ["OPS-1"]


async def test_jira_has_time_to_index_what_may_have_been_opened(hasty: Http, jira: FakeJira) -> None:
    jira.replies += [says({"issues": []}), SILENCE]
    with pytest.raises(Failed) as no:
        await ran(in_jira(hasty, jira), at(), text=TEXT)
    assert (no.value.retry_after, no.value.doubtful) == (timedelta(seconds=30), True)


async def test_a_workflow_that_never_ends_is_said(http: Http, jira: FakeJira) -> None:
    jira.ways = ("In Progress",)
    one = in_jira(http, jira)
    done = await ran(one, at(), text=TEXT)
    with pytest.raises(Failed, match="no transition leads OPS-1 to a status of the category done"):
        await one.undo(asked(one, text=TEXT), done, at())


async def test_a_wrong_login_project_or_type_never_works(http: Http, jira: FakeJira) -> None:
    for one, said, why in (
        (in_jira(http, jira, token="wrong"), {}, "answered 401"),
        (in_jira(http, jira, project="NOPE"), {}, "answered 404"),
        (in_jira(http, jira, project=None), {}, "name a project"),
        (in_jira(http, jira), {"issue_type": "Story"}, "OPS has no issue type 'Story', only Task, Bug"),
    ):
        with pytest.raises(Failed, match=why) as no:
            await one.check(asked(one, text=TEXT, **said), at())
        assert no.value.retry_after is None


@pytest.mark.parametrize(
    ("reply", "after"),
    [
        (Reply(429, {"retry-after": "5"}), timedelta(seconds=5)),
        (Reply(503), timedelta(seconds=2)),
        (Reply(302, {"location": "https://id.atlassian.com/login"}), None),
        (Reply(200, body=b"<html>"), timedelta(seconds=2)),
    ],
)
async def test_what_jira_refuses_is_tried_again_if_it_may_pass(
    http: Http, jira: FakeJira, reply: Reply, after: timedelta | None
) -> None:
    one = in_jira(http, jira)
    jira.replies.append(reply)
    with pytest.raises(Failed) as no:
        await ran(one, at(), text=TEXT)
    assert no.value.retry_after == after
    await ran(one, at(), text=TEXT)
    assert len(jira.issues) == 1


async def test_an_answer_that_names_no_issue_leaves_it_in_doubt(http: Http, github: FakeGitHub, jira: FakeJira) -> None:
    github.replies += [says([]), says(["opened"], 201)]
    jira.replies += [says({"issues": "none"}), says({"key": None}, 201)]
    for one in (on_github(http, github), in_jira(http, jira)):
        with pytest.raises(Failed, match="names no issue") as no:
            await ran(one, at(), text=TEXT)
        assert no.value.doubtful
