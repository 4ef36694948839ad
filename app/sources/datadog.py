"""Datadog's webhooks integration, whose body is the customer's template: ours (docs/sources-vendors.md), or its own.

Source: https://docs.datadoghq.com/integrations/webhooks/. Its own template knows neither monitor nor transition: both
are read from the title, `[Triggered on {host:a}] name`. It can't sign: a key stands in a header or in the address.
"""

import re
from typing import NamedTuple

from app.domain.alert import Alert, AlertStatus
from app.domain.digging import dug, moment_at, text_at
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical
from app.sources.text import cut, first_said

NAME = "datadog"
LOOKED_AT = 2_000
"""Characters of a title: it is taken apart from its beginning, each time the whole of it."""
PREFIX = re.compile(r"\s*\[([^\[\]]{0,500})\]")
TRANSITION = re.compile(
    r"(?:re-?)?(trigger|alert|warn|no data|recover|renotif|mute)(?:ed|ing|y|d)?(?: on (.*))?", re.IGNORECASE | re.DOTALL
)
PRIORITY = re.compile(r"P([1-5])", re.IGNORECASE)
TAGS = ("provider", "model", "model_group", "team", "region", "host", "kube_namespace", "ml_app")


class Told(NamedTuple):
    """What a title says before the name: `transition` in one word, `scope` as `{host:a}`."""

    name: str
    transition: str = ""
    priority: str = ""
    scope: str = ""


def read(post: Post) -> Inbound:
    """Nothing where a monitor was muted. Raises: Invalid."""
    said = post.json
    told = titled(_text(said, "title"))
    if not told.name:
        raise Invalid.field("title", "is required")
    transition = _transition(_text(said, "alert_transition")) or told.transition
    return Inbound() if transition == "mute" else Inbound(alerts=(_alert(said, told, transition),))


def titled(title: str) -> Told:
    """A title, taken apart."""
    told = Told(cut(title.strip(), LOOKED_AT))
    while found := PREFIX.match(told.name):
        inside, rest = found[1].strip(), told.name[found.end() :].strip()
        if PRIORITY.fullmatch(inside):
            told = told._replace(name=rest, priority=inside)
        elif state := TRANSITION.fullmatch(inside):
            told = told._replace(name=rest, transition=state[1].lower(), scope=(state[2] or "").strip())
        else:
            break
    return told if told.name else Told(cut(title.strip(), LOOKED_AT), told.transition)


def _transition(said: str) -> str:
    found = TRANSITION.fullmatch(said.strip())
    return found[1].lower() if found else ""


def _text(said: object, *path: str) -> str:
    """A variable that Datadog doesn't know stays as it was written."""
    text = text_at(said, *path)
    return "" if text.startswith("$") or text in ("null", "None") else text


def _alert(said: object, told: Told, transition: str) -> Alert:
    monitor, scope = _text(said, "monitor_id"), _text(said, "scope") or told.scope
    identity = first_said(
        f"{monitor}/{scope}" if monitor and scope else "", _text(said, "aggreg_key"), monitor, f"{told.name}/{scope}"
    )
    blind = transition == "no data"
    tags = dict(tag.split(":", 1) for tag in _text(said, "tags").split(",") if ":" in tag)
    tags = {name.strip(): value.strip() for name, value in tags.items()}
    return canonical(
        NAME, f"{told.name}: no data" if blind else told.name, identity,
        incident_class="observability.blind_spot" if blind else None,
        severity=_severity(said, told, transition),
        status=AlertStatus.RESOLVED if transition == "recover" else AlertStatus.FIRING,
        description=_text(said, "body"),
        service=tags.get("service"), environment=tags.get("env"),
        labels={name: tags.get(name, "") for name in TAGS} | {"monitor_id": monitor, "scope": scope},
        notes={
            "url": _text(said, "url"), "query": _text(said, "alert_query"), "status": _text(said, "alert_status"),
            "episode": _text(said, "cycle_key"), "org": _text(said, "org", "name"),
        },
        delivery=_text(said, "id") or None, starts_at=moment_at(dug(said, "date")),
        ends_at=moment_at(dug(said, "date")),
    )  # fmt: skip


def _severity(said: object, told: Told, transition: str) -> Severity:
    """The monitor's priority, Datadog's P5 being our P4; without one what the transition says. A warning is P3."""
    stated = PRIORITY.fullmatch(first_said(_text(said, "priority"), _text(said, "alert_priority"), told.priority))
    usual = Severity(f"P{min(int(stated[1]), 4)}") if stated else Severity.P2
    if transition in ("warn", "no data") or _text(said, "alert_type") == "warning":
        return usual if Severity.P3.worse_than(usual) else Severity.P3
    return Severity.P4 if not stated and not transition and _text(said, "alert_type") == "info" else usual


SAYS = Source(read)
