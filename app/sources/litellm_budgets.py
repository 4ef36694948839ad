"""LiteLLM's budgets: the event as its webhook posts it, and what the text that says the same is turned into.

Source: litellm/types/integrations/slack_alerting.py (WebhookEvent). With both channels on, each event arrives twice;
the text has no `token`, so that a budget is known by whose it is.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

from app.domain.alert import Alert, ChangeEvent
from app.domain.inbound import Inbound, Sample, Signal
from app.domain.vocabulary import Severity
from app.sources.base import Post, canonical, pseudonym
from app.sources.litellm_logs import dollars, word
from app.sources.text import as_text, cut

SOURCE = "litellm"
CHANGES = {
    "key_created": "A key was created",
    "key_rotated": "A key was rotated",
    "internal_user_created": "A user was created",
}
NEAR = {
    "projected_limit_exceeded": "will be exceeded",
    "soft_budget_crossed": "crossed its soft limit",
    "threshold_crossed": "is nearly spent",
    "max_budget_alert": "is nearly spent",
}
CROSSED = "budget_crossed"
HIGHER = dict.fromkeys(("proxy", "team", "organization"), Severity.P1)
"""Whose crossed budget stops more than one: the calls of a whole team, or all."""
GROUPS = {"internal_user": "user", "customer": "end_user"}
"""Older releases' names."""
OWNERS = {
    "key": ("key_alias",),
    "team": ("team_id", "team_alias"),
    "user": ("user_id",),
    "end_user": ("customer_id", "user_id"),
    "organization": ("organization_id",),
}
ANYBODY = ("key_alias", "team_id", "user_id", "organization_id", "customer_id")
PEOPLE = frozenset({"user_id", "customer_id"})
NOTES = ("spend", "max_budget", "soft_budget", "projected_spend", "projected_exceeded_date")


def read(said: Mapping[str, object], post: Post) -> Inbound:
    """What a structured event says; users' mail is not kept.

    `spend_tracked`, of each single call, is counted. It has neither id nor time, and two calls may cost the same: when
    it came is part of its delivery.
    """
    event = as_text(said["event"])
    if event == "spend_tracked":
        delivery = f"{post.at.isoformat()} {sha256(post.body).hexdigest()}"
        return Inbound(samples=(_spent(said, post.at),), delivery=delivery)
    if event in CHANGES:
        return Inbound(changes=(_change(said, CHANGES[event]),))
    return Inbound(alerts=(budget(said, event, key_hash=word(said.get("token"))),))


def budget(said: Mapping[str, object], event: str, *, occurrences: int = 1, key_hash: str | None = None) -> Alert:
    """One incident per budget, from the first warning until it is crossed, whichever channel tells of it."""
    group = word(said.get("event_group")) or "unknown"
    group = GROUPS.get(group, group)
    owner = _owner(said, group)
    shown = word(said.get("team_alias")) if group == "team" else None
    severity = HIGHER.get(group, Severity.P2) if event == CROSSED else Severity.P3
    what = "is spent" if event == CROSSED else NEAR.get(event, event.replace("_", " "))
    name = "the proxy" if group == "proxy" else f"{group.replace('_', ' ')} {shown or owner}"
    return canonical(
        SOURCE, f"The budget of {name} {what}", f"budget:{group}:{owner}",
        incident_class="cost.budget", severity=severity, occurrences=occurrences,
        description=_sentence(said),
        labels={
            "alert_type": "budget_alerts", "event": event, "event_group": group,
            "key_alias": word(said.get("key_alias")), "team": word(said.get("team_alias")) or word(said.get("team_id")),
            "team_id": word(said.get("team_id")), "organization": word(said.get("organization_id")),
            "end_user": owner if group == "end_user" else None, "user": owner if group == "user" else None,
        },
        notes={name: said[name] for name in NOTES if said.get(name) is not None} | {"key_hash": key_hash or ""},
    )  # fmt: skip


def _owner(said: Mapping[str, object], group: str) -> str:
    """Whose budget it is: of people a pseudonym, of members both, of a key without a name its team's or user's."""
    if group == "proxy":
        return "proxy"
    if group.endswith("_member"):
        wanted = [f"{group.removesuffix('_member')}_id", "user_id"]
        return "/".join(_named(said, field) for field in wanted if said.get(field)) or "unknown"
    fields = (*OWNERS.get(group, ()), *ANYBODY)
    return next((_named(said, field) for field in fields if word(said.get(field))), "unknown")


def _named(said: Mapping[str, object], field: str) -> str:
    value = word(said.get(field)) or ""
    return pseudonym(value) if field in PEOPLE else value


def _sentence(said: Mapping[str, object]) -> str:
    spent, most, soft = (dollars(said.get(field)) for field in ("spend", "max_budget", "soft_budget"))
    parts = [f"Spent ${spent:,.2f}" + (f" of ${most:,.2f}." if most else ".")]
    if soft:
        parts.append(f"The soft limit is ${soft:,.2f}.")
    if said.get("projected_exceeded_date"):
        parts.append(
            f"At this rate it is exceeded on {cut(as_text(said['projected_exceeded_date']), 40)},"
            f" with ${dollars(said.get('projected_spend')):,.2f}."
        )
    return " ".join(parts)


def _spent(said: Mapping[str, object], at: datetime) -> Sample:
    key, customer = word(said.get("key_alias")), word(said.get("customer_id"))
    subject = ({"key_alias": key} if key else {}) | ({"end_user": pseudonym(customer)} if customer else {})
    return Sample(signal=Signal.SPEND, source=SOURCE, subject=subject, at=at, amount=dollars(said.get("spend")))


def _change(said: Mapping[str, object], what: str) -> ChangeEvent:
    about = {field: word(said.get(field)) for field in ("key_alias", "team_id", "team_alias", "organization_id")}
    named = about["key_alias"] or about["team_alias"]
    return ChangeEvent(
        source=SOURCE,
        summary=cut(f"{what}: {named}" if named else what, 1024),
        details={"event": said["event"], **{field: value for field, value in about.items() if value}},
    )
