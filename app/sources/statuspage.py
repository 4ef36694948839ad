"""Status pages of providers: what Statuspage posts to its subscribers, and alerts of what a page says when it is asked.

Source: https://support.atlassian.com/statuspage/docs/enable-webhook-notifications/. It can't sign: the key is in the
address. A page lags behind what it tells of, so it confirms an outage and gives it words: P2 at most, P3 as long as
something still works. It names the provider, by which it joins the incidents of our own traffic.
"""

from datetime import datetime

from app.domain.alert import Alert, AlertStatus, ChangeEvent
from app.domain.digging import dug, moment_at, text_at
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.status_page import KNOWN, MOST, WELL, Component, Notice, component, matters, notice
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical
from app.sources.text import cut

NAME = "statuspage"
CLASS = "availability.provider_outage"
OF_COMPONENT = {
    "major_outage": Severity.P2, "full_outage": Severity.P2, "partial_outage": Severity.P3,
    "degraded_performance": Severity.P3, "under_maintenance": Severity.P4,
}  # fmt: skip
OF_IMPACT = {"critical": Severity.P2, "major": Severity.P2, "minor": Severity.P3, "none": Severity.P4}


def read(post: Post) -> Inbound:
    """One component's new status, or one incident's. `?provider=` in the address says whose page it is, and so which
    components matter where the provider is known. Raises: Invalid.
    """
    said, provider = post.json, post.query.get("provider", "").strip().lower()
    page = text_at(said, "page", "id")
    wanted = KNOWN[provider].components if provider in KNOWN else ()
    if (changed := component(dug(said, "component"))) is not None:
        update = dug(said, "component_update")
        state = changed._replace(
            status=text_at(update, "new_status") or changed.status, at=moment_at(update, "created_at") or changed.at
        )
        if not matters(state.name, wanted):
            return Inbound()
        return Inbound(alerts=(of_component(provider, page, state, delivery=text_at(update, "id")),))
    if (told := notice(dug(said, "incident"))) is not None:
        if not told.concerns(wanted):
            return Inbound()
        if told.maintenance:
            return Inbound(changes=(_planned(provider, told),))
        return Inbound(
            alerts=(of_notice(provider, page, told, text_at(said, "incident", "incident_updates", 0, "id")),)
        )
    raise Invalid.field("body", "must hold an `incident`, or a `component` with its `component_update`")


def of_component(
    provider: str, page: str, state: Component, delivery: str = "", since: datetime | None = None
) -> Alert:
    """The alert that a component's status is, resolved where it is well. The same twice is one by `delivery`, or by
    the status and the moment since when it is so (`since`, where the page doesn't say)."""
    identity = f"{page or provider}/component/{state.id}"
    return canonical(
        NAME, f"{_named(provider)}{state.name}: {_words(state.status)}", identity,
        incident_class=CLASS, severity=OF_COMPONENT.get(state.status, Severity.P3),
        status=AlertStatus.RESOLVED if state.status == WELL else AlertStatus.FIRING,
        description=f"{_named(provider)}{state.name} is {_words(state.status)}, says the status page.",
        labels={"provider": provider, "component": state.name, "status": state.status},
        delivery=delivery or f"{identity}/{state.status}/{state.at or since}",
        starts_at=state.at, ends_at=state.at,
    )  # fmt: skip


def of_notice(provider: str, page: str, told: Notice, delivery: str = "", since: datetime | None = None) -> Alert:
    """The alert that a page's incident is, resolved where it is over. The same twice is one, as above."""
    identity = f"{page or provider}/incident/{told.id}"
    return canonical(
        NAME, f"{_named(provider)}{told.name}", identity,
        incident_class=CLASS, severity=OF_IMPACT.get(told.impact, Severity.P3),
        status=AlertStatus.RESOLVED if told.over else AlertStatus.FIRING,
        description=told.body,
        labels={"provider": provider, "impact": told.impact},
        notes={"status": told.status, "link": told.link, "components": ", ".join(told.components)},
        delivery=delivery or f"{identity}/{told.status}/{told.impact}/{told.at or since}",
        starts_at=told.at or told.began_at, ends_at=told.at,
    )  # fmt: skip


def _planned(provider: str, told: Notice) -> ChangeEvent:
    """Maintenance is no outage, but may explain one."""
    return ChangeEvent(
        source=NAME, summary=cut(f"{_named(provider)}{told.name}: maintenance {_words(told.status)}", 1024),
        at=told.at or told.began_at, services=told.components[: MOST // 2],
        details={"impact": told.impact, "body": told.body} | ({"provider": provider} if provider else {}),
        links=({"href": told.link},) if told.link else (),
    )  # fmt: skip


def _named(provider: str) -> str:
    return f"{provider}: " if provider else ""


def _words(status: str) -> str:
    return status.replace("_", " ")


SAYS = Source(read)
