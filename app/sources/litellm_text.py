"""LiteLLM's alerts as Slack's text: the only form of its outages, exceptions, slow and hanging calls.

Source: litellm/integrations/SlackAlerting (slack_alerting.py, batching_handler.py, user_spend_alerts.py). Its time is
a local one without date or zone, so that when it came counts; it never says that something is over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from app.domain.alert import TEXT_MAX, Alert, ChangeEvent
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import canonical, pseudonym
from app.sources.litellm_budgets import CROSSED, SOURCE, budget
from app.sources.litellm_prompts import without_prompts
from app.sources.text import cut

HEAD = re.compile(
    r"\s*(?:\[Num Alerts: (?P<squashed>\d{1,9})\]\s*)?(?:Alert type: `(?P<type>[^`\n]{1,100})`(?: \(Digest\))?\s*)?"
    r"(?:Level: `(?P<level>\w{1,20})`\s*)?(?:Timestamp: `[^`\n]*`\s*)?"
    r"(?:Start: `[^`\n]*`\s*End: `[^`\n]*`\s*Count: `(?P<count>\d{1,9})`\s*)?(?:Message: ?)?"
)
FIELD = re.compile(r"^\**([A-Za-z][\w ]{0,40}):\**[ \t]+(?:`([^`\n]{1,500})`|(\S[^`\n]{0,500}))[ \t]*$", re.MULTILINE)
LINK = re.compile(r"Langfuse Trace: `?(https?://[^\s`]{1,2000})")
OUTAGE = re.compile(r"\*⚠️ (Minor|Major) Service Outage\*")
EXCEPTION = re.compile(r"\b((?:[A-Z]\w+)?(?:Error|Timeout|RaisedException))\b")
EXCEPTION_OF = re.compile(r"\b(?!HTTP|Proxy|Guardrail)([A-Z]\w+)Exception\b")
VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|\d+", re.IGNORECASE)

REPORTS = frozenset({"daily_reports", "spend_reports", "fallback_reports"})
"""Of what is known from elsewhere, and nobody's problem."""
CHANGES = {
    "new_model_added": "A model was added", "new_virtual_key_created": "A key was created",
    "virtual_key_updated": "A key was changed", "virtual_key_deleted": "A key was deleted",
    "new_team_created": "A team was created", "team_updated": "A team was changed",
    "team_deleted": "A team was deleted", "new_internal_user_created": "A user was created",
    "internal_user_updated": "A user was changed", "internal_user_deleted": "A user was deleted",
}  # fmt: skip
TOLD_OF_CHANGES = ("model_name", "key_alias", "team_id", "team_alias", "models", "max_budget", "organization_id")
GUESSES = {
    "Service Outage*": "outage_alerts", "Responses are slow": "llm_too_slow",
    "Requests are hanging": "llm_requests_hanging", "Failed Tracking Cost": "failed_tracking_spend",
    "LLM API call failed": "llm_exceptions", "DB read/write call failed": "db_exceptions", "Budget": "budget_alerts",
}  # fmt: skip
"""Older releases don't say the type, and called a cost that could not be tracked a budget alert."""
PROVIDER_FAILS = ("availability.provider_outage", Severity.P3)
EXCEPTIONS: dict[str, tuple[str, Severity | None]] = {
    "RateLimitError": ("performance.rate_limit", None),
    "ContextWindowExceededError": ("app.context_overflow", None),
    "AuthenticationError": ("other.availability", Severity.P1),
    "PermissionDeniedError": ("other.availability", Severity.P1),
    "BudgetExceededError": ("cost.budget", None),
    "ContentPolicyViolationError": ("security.jailbreak", Severity.P3),
    "JSONSchemaValidationError": ("app.structured_output", Severity.P3),
    "APIResponseValidationError": ("app.structured_output", Severity.P3),
    **dict.fromkeys(
        (
            "Timeout", "InternalServerError", "ServiceUnavailableError", "APIConnectionError", "APIError",
            "BadGatewayError", "MidStreamFallbackError",
        ),
        PROVIDER_FAILS,
    ),
}  # fmt: skip
"""Of a provider's failures one call is no outage yet: rates confirm it, or LiteLLM's own `outage_alerts`."""


@dataclass(frozen=True)
class Text:
    """One alert's text, without what users wrote. `many`: of how many it is the first."""

    type: str
    level: str
    many: int
    body: str

    @classmethod
    def of(cls, raw: str) -> "Text":
        head = HEAD.match(raw)
        said = head.groupdict() if head else {}
        body = without_prompts(cut(raw[head.end() if head else 0 :].strip(), TEXT_MAX))
        many = max(int(said.get("squashed") or 1), int(said.get("count") or 1))
        return cls(_type(said.get("type"), body), said.get("level") or "", many, body)

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """`Key Name: value` and `*key_name:* value` by `key_name`; of one that is said twice the first."""
        found: dict[str, str] = {}
        for name, quoted, plain in FIELD.findall(self.body):
            found.setdefault(name.strip().lower().replace(" ", "_"), (quoted or plain).strip())
        return found

    def said(self, *names: str) -> str | None:
        """The first of the fields that is said."""
        return next((self.fields[name] for name in names if self.fields.get(name)), None)

    @property
    def model(self) -> str | None:
        return self.said("model_name", "request_model", "model", "model_group")

    @property
    def provider(self) -> str | None:
        """As LiteLLM names it; of an exception what its deployment or else its own name says."""
        prefix, slash, _ = (self.said("deployment") or "").partition("/")
        named = EXCEPTION_OF.search(self.body) if self.type == "llm_exceptions" else None
        return self.said("provider") or (prefix if slash else None) or (named[1].lower() if named else None)

    @property
    def labels(self) -> dict[str, object]:
        return {
            "alert_type": self.type, "provider": self.provider, "model": self.model,
            "model_group": self.said("model_group", "request_model"), "region": self.said("region_name"),
            "api_base": self.said("api_base"), "key_alias": self.said("key_name", "key_alias"),
            "team": self.said("team", "team_alias"),
        }  # fmt: skip

    @property
    def notes(self) -> dict[str, object]:
        trace = LINK.search(self.body)
        several = f"{self.many} alerts of this type at once: this is the first." if self.many > 1 else None
        noted = {"level": self.level, "proxy_url": self.said("proxy_url"), "langfuse_trace": trace and trace[1]}
        return {name: value for name, value in {**noted, "occurrences": several}.items() if value}

    def named(self, *what: str | None) -> str:
        """What tells its problem from others: the type, and what it is about."""
        return ":".join((self.type, *(part or "" for part in what)))

    @property
    def place(self) -> str:
        return self.named(self.model, self.said("api_base"))

    def alert(
        self, title: str, identity: str, incident_class: str | None, severity: Severity | None = None, **labels: str
    ) -> Alert:
        return canonical(
            SOURCE, title, identity, incident_class=incident_class, severity=severity,
            description=self.body, labels=self.labels | labels, notes=self.notes, occurrences=self.many,
        )  # fmt: skip


def read(raw: str) -> Inbound:
    """What a text says; of a type that nobody knows it is a P3, as it stands."""
    text = Text.of(raw)
    if text.type in CHANGES or "*Action Done by:*" in text.body:
        return Inbound(changes=(_change(text),))
    if text.type in REPORTS:
        return Inbound()
    return Inbound(alerts=(READERS.get(text.type, _unknown)(text),))


def _type(said: str | None, body: str) -> str:
    guessed = next((kind for words, kind in GUESSES.items() if words in body[:200]), "")
    if said is None or (said == "budget_alerts" and guessed == "failed_tracking_spend"):
        return guessed or "unknown"
    return said


def _outage(text: Text) -> Alert:
    """Of a model at one address, or of a region: that comes as `outage_alerts`, too."""
    found = OUTAGE.search(text.body)
    major = found is not None and found[1] == "Major"
    region = text.said("region_name")
    place = ("region", region, text.provider) if region else ("model", text.model, text.said("api_base"))
    identity = ":".join(("outage", *(part or "" for part in place)))
    what = f"region {region}" if region else text.model or "a model"
    where = f" at {text.provider}" if text.provider else ""
    title = f"{'Major' if major else 'Minor'} outage of {what}{where}"
    return text.alert(title, identity, "availability.provider_outage", Severity.P1 if major else Severity.P2)


def _exception(text: Text) -> Alert:
    found = EXCEPTION.search(text.body)
    kind = found[1] if found else "Exception"
    incident_class, severity = EXCEPTIONS.get(kind, ("other.application", Severity.P3))
    if incident_class == "other.availability" and text.provider is None:
        severity = Severity.P3  # a caller's key, not ours at a provider
    where = f" at {text.provider}" if text.provider else ""
    identity = text.named(text.model, text.said("api_base"), kind)
    return text.alert(f"{kind} of {text.model or 'a model'}{where}", identity, incident_class, severity)


def _slow(text: Text) -> Alert:
    took = re.search(r"(?<!\d)(\d{1,9}(?:\.\d{1,9})?)s response time", text.body)
    title = f"{text.model or 'A model'} is slow" + (f": {took[1]} s" if took else "")
    return text.alert(title, text.place, "performance.latency", Severity.P3)


def _hanging(text: Text) -> Alert:
    return text.alert(f"Requests to {text.model or 'a model'} hang", text.place, "performance.hanging")


def _budget(text: Text) -> Alert:
    """The same as its webhook's."""
    group = re.match(
        r"(Proxy|Key|Team|User|Organization|Customer)\b[^\n]* Budget|(Proxy|Key|Team|User) Budget", text.body
    )
    named = (group[1] or group[2]).lower() if group else None
    said = {"event_group": named, **text.fields}
    events = {
        "Soft Budget Crossed": "soft_budget_crossed", "Projected Limit Exceeded": "projected_limit_exceeded",
        "Budget Crossed": CROSSED, "Max Budget Alert": "max_budget_alert",
        "budget remaining": "threshold_crossed", "Threshold Crossed": "threshold_crossed",
    }  # fmt: skip
    event = next((event for words, event in events.items() if words in text.body[:300]), "budget_alert")
    told = budget(said, event, occurrences=text.many)
    return told.model_copy(update={"annotations": told.annotations | {n: str(v) for n, v in text.notes.items()}})


def _untracked(text: Text) -> Alert:
    found = re.search(r"Model=(\S{1,200})", text.body)
    model = found[1].strip("`,.") if found else ""
    title, identity = f"The cost of {model or 'a model'} is not tracked", text.named(model or _skeleton(text.body))
    return text.alert(title, identity, "observability.blind_spot", model=model)


def _user_spend(text: Text) -> Alert:
    """Whose, as a pseudonym; a threshold's day and month are two."""
    raw = text.said("user") or "unknown"
    user = pseudonym(raw)
    odd = text.type == "user_spend_anomalies"
    over = "month" if "Monthly" in text.body[:100] else "day"
    what = "An unusual spend" if odd else f"The spend of the {over} is over its threshold"
    identity = text.named(user) if odd else text.named(user, over)
    incident_class = "cost.runaway" if odd else "cost.budget"
    told = text.alert(f"{what}: user {user}", identity, incident_class, user=user)
    return told.model_copy(update={"description": told.description.replace(f"`{raw}`", f"`{user}`")})


def _database(text: Text) -> Alert:
    return text.alert("LiteLLM can't reach its database", text.type, "availability.gateway_down", Severity.P1)


def _cooldown(text: Text) -> Alert:
    return text.alert(f"A deployment of {text.model or 'a model'} cools down", text.place, *PROVIDER_FAILS)


def _deprecated(text: Text) -> Alert:
    """A date that is past is no proof that calls fail: that would be an alert of its own."""
    past = "*Already deprecated:*" in text.body
    models = "+".join(sorted(set(re.findall(r"^• `([^`\n]+)`", text.body, re.MULTILINE)))) or "models"
    title = f"Deprecated: {models}" if past else f"Soon deprecated: {models}"
    return text.alert(title, text.type, "deploy.model_deprecated", Severity.P2 if past else None)


def _tampered(text: Text) -> Alert:
    found = re.search(r"MCP server `([^`\n]{1,200})`", text.body)
    server = found[1] if found else ""
    what = "A tool of {} was blocked" if text.type == "mcp_tool_description_blocked" else "The tools of {} changed"
    title = what.format(f"MCP server {server}" if server else "an MCP server")
    identity = text.named(server or _skeleton(text.body))
    return text.alert(title, identity, "security.mcp_tamper", mcp_server=server)


def _unknown(text: Text) -> Alert:
    title = next((line.strip("*` ") for line in text.body.splitlines() if line.strip("*` ")), text.type)
    return text.alert(cut(title, 200), text.named(_skeleton(text.body)), None, Severity.P3)


def _skeleton(body: str) -> str:
    """What stays the same of a text from one time to the next: no numbers, no ids."""
    return VARYING.sub("#", " ".join(body.split()))


def _change(text: Text) -> ChangeEvent:
    what = CHANGES.get(text.type) or cut(text.body.partition("\n")[0].strip("`* "), 200) or "Something was changed"
    named = text.said("model_name", "key_alias", "team_alias", "team_id")
    details = {name: text.fields[name] for name in TOLD_OF_CHANGES if name in text.fields}
    author = text.said("created_by_user_id", "created_by_key_alias")
    return ChangeEvent(
        source=SOURCE, summary=cut(f"{what}: {named}" if named else what, 1024), author=author and cut(author, 255),
        details={"alert_type": text.type, **details},
    )  # fmt: skip


READERS = {
    "outage_alerts": _outage, "region_outage_alerts": _outage, "llm_exceptions": _exception, "llm_too_slow": _slow,
    "llm_requests_hanging": _hanging, "budget_alerts": _budget, "failed_tracking_spend": _untracked,
    "user_spend_thresholds": _user_spend, "user_spend_anomalies": _user_spend, "db_exceptions": _database,
    "cooldown_deployment": _cooldown, "model_deprecation_warnings": _deprecated,
    "mcp_tool_description_blocked": _tampered, "mcp_pinned_tools_changed": _tampered,
}  # fmt: skip
