"""GitHub: secrets that leaked, and changes."""

import pytest

from app.domain.alert import AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.vocabulary import Environment, Severity
from tests.sources.posts import alert, change, inbound, nothing

REPOSITORY = {"name": "chat", "full_name": "acme/chat", "default_branch": "main", "pushed_at": 1_795_404_870}


def leak(action: str, validity: str = "active", public: bool | None = False) -> dict[str, object]:
    said = {
        "number": 7, "secret_type": "openai_api_key", "secret_type_display_name": "OpenAI API key",
        "secret": "sk-hunter2",
        "validity": validity, "publicly_leaked": public, "state": "open", "html_url": "https://github.com/x/7",
        "updated_at": "2026-11-23T03:30:00Z", "resolution": "revoked" if action == "resolved" else None,
    }  # fmt: skip
    return {"action": action, "alert": said, "repository": REPOSITORY, "sender": {"login": "ada"}}


def sent(event: str) -> dict[str, str]:
    return {"x-github-event": event, "x-github-delivery": "d1"}


SCANNING = sent("secret_scanning_alert")


@pytest.mark.parametrize(("action", "validity", "public", "severity"), [
    ("created", "active", True, Severity.P0), ("publicly_leaked", "active", False, Severity.P0),
    ("created", "active", False, Severity.P1), ("reopened", "unknown", True, Severity.P1),
    ("created", "unknown", None, Severity.P2), ("validated", "inactive", True, Severity.P3),
])  # fmt: skip
def test_a_leak_is_as_urgent_as_what_the_secret_opens(
    action: str, validity: str, public: bool | None, severity: Severity
) -> None:
    said = alert("github", leak(action, validity, public), SCANNING)
    assert (said.severity, said.status, said.delivery) == (severity, AlertStatus.FIRING, "d1")
    assert (said.labels["class"], said.title) == ("security.key_leak", "OpenAI API key leaked in acme/chat")
    assert said.affected_services == ("chat",)


def test_its_end_is_about_the_same_leak_and_the_secret_is_never_kept() -> None:
    fires, over = alert("github", leak("created"), SCANNING), alert("github", leak("resolved"), SCANNING)
    assert fingerprint(fires) == fingerprint(over)
    assert (over.status, over.annotations["resolution"]) == (AlertStatus.RESOLVED, "revoked")
    assert "hunter2" not in fires.model_dump_json() + over.model_dump_json()
    assert nothing("github", leak("assigned"), SCANNING)


def test_a_deployment_is_a_change_once_it_is_over() -> None:
    body = {
        "deployment_status": {"state": "success", "created_at": "2026-11-23T03:30:00Z", "target_url": "https://ci/1"},
        "deployment": {"ref": "v2", "sha": "abc", "environment": "production", "creator": {"login": "ada"}},
        "repository": REPOSITORY,
    }
    said = change("github", body, sent("deployment_status"))
    assert said.summary == "acme/chat deployment of v2 to production: success"
    assert (said.services, said.environment, said.author) == (("chat",), Environment.PRODUCTION, "ada")
    assert said.links == ({"href": "https://ci/1"},)
    assert nothing("github", body | {"deployment_status": {"state": "in_progress"}}, sent("deployment_status"))


@pytest.mark.parametrize(("event", "body", "summary"), [
    ("push", {"ref": "refs/heads/main", "after": "abc", "pusher": {"name": "ada"}, "compare": "https://c",
              "head_commit": {"message": "New prompt\n\nwith care"}}, "acme/chat main pushed: New prompt"),
    ("push", {"ref": "refs/tags/v2", "deleted": True}, "acme/chat v2 deleted"),
    ("workflow_run", {"action": "completed", "workflow_run": {
        "name": "deploy", "head_branch": "main", "conclusion": "failure", "updated_at": "2026-11-23T03:30:00Z"}},
     "acme/chat deploy on main: failure"),
    ("release", {"action": "published", "release": {"tag_name": "v2", "published_at": "2026-11-23T03:30:00Z"}},
     "acme/chat release v2 published"),
])  # fmt: skip
def test_other_changes(event: str, body: dict[str, object], summary: str) -> None:
    said = change("github", body | {"repository": REPOSITORY}, sent(event))
    assert (said.summary, said.services) == (summary, ("chat",))
    assert said.at is not None


@pytest.mark.parametrize(("event", "body"), [
    ("ping", {"zen": "Keep it logically awesome."}), ("star", {"action": "created"}),
    ("push", {"ref": "refs/heads/try", "repository": REPOSITORY}),
    ("workflow_run", {"action": "requested", "workflow_run": {}}), ("release", {"action": "edited", "release": {}}),
])  # fmt: skip
def test_what_changes_nothing_is_nothing(event: str, body: object) -> None:
    assert nothing("github", body, sent(event))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="x-github-event"):
        inbound("github", leak("created"))
    with pytest.raises(Invalid, match="number"):
        inbound("github", {"action": "created"}, SCANNING)
