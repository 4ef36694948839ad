"""Status pages of providers: what Statuspage posts to its subscribers, and alerts of what a page says when it is asked.

Source: https://support.atlassian.com/statuspage/docs/enable-webhook-notifications/. It can't sign: the key is in the
address. A page lags behind what it tells of, so it confirms an outage and gives it words: P2 at most, P3 as long as
something still works. It names the provider, by which it joins the incidents of our own traffic.
"""

from collections.abc import Iterator
from datetime import datetime

from app.domain.alert import Alert, AlertStatus, ChangeEvent
from app.domain.digging import dug, moment_at, text_at
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.status_page import KNOWN, NAME_MAX, Component, News, Notice, component, matters, notice
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
    page, wanted = text_at(said, "page", "id"), KNOWN[provider].components if provider in KNOWN else ()
    if (state := component(dug(said, "component"))) is not None:
        update = dug(said, "component_update")
        at = moment_at(update, "created_at") or state.at or post.at
        state = state._replace(status=text_at(update, "new_status")[:NAME_MAX] or state.status, at=at)
        delivery = text_at(update, "id") or f"{page}/{state.id}/{state.status}/{at}"
        return Inbound(alerts=(of_component(provider, page, state, delivery),) if matters(state.name, wanted) else ())
    told = notice(dug(said, "incident"))
    if told is None:
        raise Invalid.field("body", "must hold an `incident`, or a `component` with its `component_update`")
    if not told.concerns(wanted):
        return Inbound()
    if told.maintenance:
        return Inbound(changes=(_planned(provider, told),))
    update_id = text_at(said, "incident", "incident_updates", 0, "id")
    delivery = update_id or f"{page}/{told.id}/{told.status}/{told.at or post.at}"
    return Inbound(alerts=(of_notice(provider, page, told, delivery),))


def changed(provider: str, what: News, at: datetime) -> Iterator[Alert]:
    """What changed on a page that was asked `at` this moment, which names each change."""
    page = what.seen.page
    for state in what.components:
        yield of_component(provider, page, state, f"polled/{page or provider}/{state.id}/{state.status}/{at}")
    for told in what.notices:
        yield of_notice(provider, page, told, f"polled/{page or provider}/{told.id}/{told.status}/{told.impact}/{at}")


def of_component(provider: str, page: str, state: Component, delivery: str) -> Alert:
    """The alert that a component's status is, resolved where it is well."""
    return canonical(
        NAME, f"{_named(provider)}{state.name}: {_words(state.status)}", f"{page or provider}/component/{state.id}",
        incident_class=CLASS, severity=OF_COMPONENT.get(state.status, Severity.P3),
        status=AlertStatus.RESOLVED if state.over else AlertStatus.FIRING,
        description=f"{_named(provider)}{state.name} is {_words(state.status)}, says the status page.",
        labels={"provider": provider, "component": state.name, "status": state.status},
        delivery=delivery, starts_at=state.at, ends_at=state.at,
    )  # fmt: skip


def of_notice(provider: str, page: str, told: Notice, delivery: str) -> Alert:
    """The alert that a page's incident is, resolved where it is over."""
    return canonical(
        NAME, f"{_named(provider)}{told.name}", f"{page or provider}/incident/{told.id}",
        incident_class=CLASS, severity=OF_IMPACT.get(told.impact, Severity.P3),
        status=AlertStatus.RESOLVED if told.over else AlertStatus.FIRING,
        description=told.body,
        labels={"provider": provider, "impact": told.impact},
        notes={"status": told.status, "link": told.link, "components": ", ".join(told.components)},
        delivery=delivery, starts_at=told.at or told.began_at, ends_at=told.at,
    )  # fmt: skip


def _planned(provider: str, told: Notice) -> ChangeEvent:
    """Maintenance is no outage, but may explain one."""
    return ChangeEvent(
        source=NAME, summary=cut(f"{_named(provider)}{told.name}: maintenance {_words(told.status)}", 1024),
        at=told.at or told.began_at, services=told.components[:100],
        details={"impact": told.impact, "body": told.body} | ({"provider": provider} if provider else {}),
        links=({"href": told.link},) if told.link else (),
    )  # fmt: skip


def _named(provider: str) -> str:
    return f"{provider}: " if provider else ""


def _words(status: str) -> str:
    return status.replace("_", " ")


SAYS = Source(read, universal=True)
