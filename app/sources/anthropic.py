"""Anthropic's webhooks, signed by Standard Webhooks.

Source: anthropic-python, types/beta/beta_webhook_* and resources/beta/webhooks.py.
`{id, type: "event", created_at, data: {type, id, organization_id, workspace_id?}}`.
"""

from app.domain.digging import dug, moment_at, text_at
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source
from app.sources.provider_event import ENDS, Event, Means, alert_of, delivered, known
from app.sources.signatures import standard_webhooks

NAME = "anthropic"
KEY = Means(
    "Anthropic cannot use our encryption key", "availability.provider_outage", Severity.P0, "external_key"
)  # fmt: skip
ENFORCED = Means(
    "Anthropic has acted against one of our users", "security.jailbreak", Severity.P1, "enforcement_action"
)  # fmt: skip
MEANS = {
    "session.budget_reached": Means("Anthropic: a session has used up its budget", "cost.runaway", Severity.P2),
    "external_key.failed": KEY,
    "external_key.recovered": KEY,
    "user_profile.enforcement_action_opened": ENFORCED,
    "user_profile.enforcement_action_resolved": ENFORCED,
    "vault_credential.refresh_failed": Means(
        "Anthropic cannot renew an agent's credential", "agent.tool_failure", Severity.P2
    ),
    "deployment_run.failed": Means("Anthropic: a deployment's run failed", "other.application", Severity.P3),
}


def read(post: Post) -> Inbound:
    """An alert or its end; nothing of what went well. Raises: Invalid."""
    said = post.json
    data = dug(said, "data")
    event = Event(
        kind=known(text_at(data, "type")), about=text_at(data, "id")[:200], at=moment_at(said, "created_at"),
        delivery=delivered(post, text_at(said, "id")),
        labels={name: text_at(data, name) for name in ("organization_id", "workspace_id")},
    )  # fmt: skip
    means = MEANS.get(event.kind)
    if means is None and event.kind.endswith(("failed", *ENDS)):
        stem = event.kind.removesuffix("failed").removesuffix("recovered").removesuffix("resolved")
        means = Means(f"Anthropic: {event.kind}", "other.application", Severity.P3, stem.rstrip("._"))
    return Inbound(alerts=(alert_of(NAME, event, means),)) if means else Inbound()


SAYS = Source(read, standard_webhooks)
