"""GitHub's webhooks: secrets that leaked into a repository, and what was changed.

Source: https://docs.github.com/webhooks/webhook-events-and-payloads. Signed by the webhook's secret over the body.
A secret that leaked is never read, so it can't be kept.
"""

from collections.abc import Callable
from datetime import datetime

from app.domain.alert import AlertStatus, ChangeEvent
from app.domain.digging import dug, moment_at, text_at
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical, known_environment
from app.sources.signatures import header
from app.sources.text import cut

NAME = "github"
EVENT, DELIVERY = "x-github-event", "x-github-delivery"
LEAKED = frozenset({"created", "reopened", "publicly_leaked", "validated"})
OVER = frozenset({"success", "failure", "error"})
"""A deployment's states that say what became of it; the others are on the way there."""


def read(post: Post) -> Inbound:
    """A leak or its end, or a change; nothing of all other events, a ping among them. Raises: Invalid."""
    event = post.headers.get(EVENT, "")
    if not event:
        raise Invalid.field(EVENT, "is missing: GitHub says in this header what it sends")
    said = post.json
    if event == "secret_scanning_alert":
        return _leak(said, post.headers.get(DELIVERY))
    change = CHANGES[event](said) if event in CHANGES else None
    return Inbound(changes=(change,) if change else ())


def _leak(said: object, delivery: str | None) -> Inbound:
    alert, action = dug(said, "alert"), text_at(said, "action")
    number, repository = text_at(alert, "number"), text_at(said, "repository", "full_name")
    if not number:
        raise Invalid.field("alert.number", "is required")
    if action not in LEAKED | {"resolved"}:
        return Inbound()
    kind = text_at(alert, "secret_type_display_name") or text_at(alert, "secret_type") or "secret"
    told = canonical(
        NAME, f"{kind} leaked in {repository or 'a repository'}", f"secret_scanning/{repository}/{number}",
        incident_class="security.key_leak", severity=_severity(alert, action),
        status=AlertStatus.RESOLVED if action == "resolved" else AlertStatus.FIRING,
        description=_described(alert, action),
        service=text_at(said, "repository", "name"),
        labels={
            "repository": repository, "secret_type": text_at(alert, "secret_type"),
            "validity": text_at(alert, "validity"), "publicly_leaked": str(_public(alert, action)).lower(),
        },
        notes={"url": text_at(alert, "html_url"), "resolution": text_at(alert, "resolution")},
        delivery=delivery, starts_at=_changed_at(alert),
    )  # fmt: skip
    return Inbound(alerts=(told,))


def _public(alert: object, action: str) -> bool:
    return action == "publicly_leaked" or dug(alert, "publicly_leaked") is True


def _severity(alert: object, action: str) -> Severity:
    """P0 works and is public, P1 works or may work and is public, P2 may work, P3 works no more."""
    public = _public(alert, action)
    match text_at(alert, "validity"):
        case "active":
            return Severity.P0 if public else Severity.P1
        case "inactive":
            return Severity.P3
        case _:
            return Severity.P1 if public else Severity.P2


def _described(alert: object, action: str) -> str:
    works = {"active": "It still works.", "inactive": "It works no more."}
    where = " It is public." if _public(alert, action) else ""
    return f"{works.get(text_at(alert, 'validity'), 'Whether it works is not known.')}{where}"


def _changed_at(alert: object) -> datetime | None:
    """When a leak came to be what it is now: an end that is older than a reopening ends nothing."""
    return moment_at(alert, "updated_at") or moment_at(alert, "resolved_at") or moment_at(alert, "created_at")


def _deployment(said: object) -> ChangeEvent | None:
    status, deployment = dug(said, "deployment_status"), dug(said, "deployment")
    state, where = text_at(status, "state"), text_at(deployment, "environment")
    if state not in OVER:
        return None
    what = text_at(deployment, "ref") or text_at(deployment, "sha")[:12]
    return _change(
        said, f"deployment of {what} to {where or 'somewhere'}: {state}",
        at=moment_at(status, "created_at"), environment=where, author=text_at(deployment, "creator", "login"),
        link=text_at(status, "target_url") or text_at(status, "log_url"),
        sha=text_at(deployment, "sha"), state=state,
    )  # fmt: skip


def _push(said: object) -> ChangeEvent | None:
    """To the default branch, or a tag: what is pushed to any other explains nothing yet."""
    ref, default = text_at(said, "ref"), text_at(said, "repository", "default_branch")
    branch = ref.removeprefix("refs/heads/")
    if not ref or (ref.startswith("refs/heads/") and default and branch != default):
        return None
    head = dug(said, "head_commit")
    first = text_at(head, "message").partition("\n")[0]
    gone = dug(said, "deleted") is True
    return _change(
        said, f"{branch.removeprefix('refs/tags/')} {'deleted' if gone else 'pushed'}{f': {first}' if first else ''}",
        at=moment_at(said, "repository", "pushed_at"), author=text_at(said, "pusher", "name"),
        link=text_at(said, "compare"), sha=text_at(said, "after"), ref=ref,
    )  # fmt: skip


def _run(said: object) -> ChangeEvent | None:
    run = dug(said, "workflow_run")
    if text_at(said, "action") != "completed":
        return None
    return _change(
        said, f"{text_at(run, 'name') or 'workflow'} on {text_at(run, 'head_branch')}: {text_at(run, 'conclusion')}",
        at=moment_at(run, "updated_at"), author=text_at(run, "actor", "login"), link=text_at(run, "html_url"),
        sha=text_at(run, "head_sha"), conclusion=text_at(run, "conclusion"),
    )  # fmt: skip


def _release(said: object) -> ChangeEvent | None:
    release, action = dug(said, "release"), text_at(said, "action")
    if action not in ("published", "unpublished", "deleted"):
        return None
    return _change(
        said, f"release {text_at(release, 'tag_name') or text_at(release, 'name')} {action}",
        at=moment_at(release, "published_at") if action == "published" else None,
        author=text_at(release, "author", "login"), link=text_at(release, "html_url"),
        tag=text_at(release, "tag_name"),
    )  # fmt: skip


def _change(
    said: object,
    what: str,
    *,
    at: datetime | None,
    environment: str = "",
    author: str = "",
    link: str = "",
    **details: str,
) -> ChangeEvent:
    """A change of the repository's service. `author`: where nobody is named, whoever's doing the event is."""
    repository = text_at(said, "repository", "full_name")
    service = cut(text_at(said, "repository", "name"), 255)
    return ChangeEvent(
        source=NAME, summary=cut(f"{repository} {what}".strip(), 1024), at=at,
        services=(service,) if service else (), environment=known_environment(environment),
        author=cut(author or text_at(said, "sender", "login"), 255) or None,
        details={name: text for name, text in {"repository": repository, **details}.items() if text},
        links=({"href": link},) if link else (),
    )  # fmt: skip


CHANGES: dict[str, Callable[[object], ChangeEvent | None]] = {
    "deployment_status": _deployment, "push": _push, "workflow_run": _run, "release": _release,
}  # fmt: skip


SAYS = Source(read, header("x-hub-signature-256", prefix="sha256="))
