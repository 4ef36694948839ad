"""A provider's status page as Statuspage and incident.io publish it, and the providers whose pages are known.

Source of the format: https://status.claude.com/api/v2/summary.json (Statuspage); incident.io's pages, OpenAI's among
them, answer at the same place without `incidents`. Judged by the components that matter: the page as a whole also
speaks of what nobody here uses.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from app.domain.digging import dug, listed, moment_at, text_at
from app.domain.record import Record

SUMMARY = "/api/v2/summary.json"
WELL = "operational"
GONE = "no longer listed"
OVER = frozenset({"resolved", "postmortem", "completed"})
MAINTENANCE = frozenset({"scheduled", "in_progress", "verifying", "completed"})
NAME_MAX = 100
MOST = 500
"""Components and incidents of one page that are looked at, each (chosen: the largest pages have some hundred)."""
TROUBLES_MAX = 50
"""Of them, those that aren't well and are told of, each (chosen: fifty pages' of both fit into a Temporal payload)."""


class Page(NamedTuple):
    """Where a provider's page is, and the components that matter (none = all)."""

    url: str
    components: tuple[str, ...] = ()


KNOWN = {
    "openai": Page("https://status.openai.com", ("Chat Completions", "Responses", "Embeddings", "Batch")),
    "anthropic": Page("https://status.claude.com", ("Claude API",)),
    "cohere": Page("https://status.cohere.com"),
    "mistral": Page("https://status.mistral.ai"),
    "groq": Page("https://groqstatus.com"),
}


class Component(NamedTuple):
    """A part of what a provider offers. `status` is `operational` or any other word; `at` since when, if it says so."""

    id: str
    name: str
    status: str
    at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.status in (WELL, GONE)


class Notice(NamedTuple):
    """What a provider says of one incident, or of one maintenance. `components` are those it affects, if it says so."""

    id: str
    name: str
    status: str
    impact: str = ""
    body: str = ""
    link: str = ""
    components: tuple[str, ...] = ()
    began_at: datetime | None = None
    at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.status in OVER

    @property
    def maintenance(self) -> bool:
        return self.status in MAINTENANCE or self.impact == "maintenance"

    def concerns(self, wanted: Sequence[str]) -> bool:
        """Whether it is about what matters; one that names no component may be."""
        return not self.components or any(matters(name, wanted) for name in self.components)


class Summary(NamedTuple):
    """`notices` None: the page doesn't list its incidents there."""

    page: str
    components: tuple[Component, ...]
    notices: tuple[Notice, ...] | None


def matters(name: str, wanted: Sequence[str]) -> bool:
    """Whether a component is one of those wanted, by a part of its name; all are, where none is named."""
    return not wanted or any(one.lower() in name.lower() for one in wanted)


def summary(answer: object) -> Summary:
    """What a page's summary.json says. Groups of components are left out, and whatever has no name or no status."""
    rows = (component(one) for one in listed(dug(answer, "components"))[:MOST] if not dug(one, "group"))
    components = {one.id: one for one in rows if one}
    incidents = dug(answer, "incidents")
    notices = {made.id: made for one in listed(incidents)[:MOST] if (made := notice(one))}
    return Summary(
        text_at(answer, "page", "id")[:NAME_MAX], tuple(components.values()),
        tuple(notices.values()) if isinstance(incidents, list) else None,
    )  # fmt: skip


def component(row: object) -> Component | None:
    """None for what has no name or no status."""
    name, status = text_at(row, "name")[:NAME_MAX], text_at(row, "status")[:100]
    if not name or not status:
        return None
    return Component(text_at(row, "id")[:NAME_MAX] or name, name, status, moment_at(row, "updated_at"))


def notice(row: object) -> Notice | None:
    """None for what has no name."""
    name = text_at(row, "name")[:NAME_MAX]
    if not name:
        return None
    told = dug(row, "incident_updates", 0)
    return Notice(
        id=text_at(row, "id")[:NAME_MAX] or name,
        name=name,
        status=(text_at(row, "status") or text_at(told, "status"))[:100],
        impact=text_at(row, "impact")[:100],
        body=text_at(told, "body")[:4000],
        link=text_at(row, "shortlink")[:2000],
        components=tuple(
            named for one in listed(dug(row, "components"))[:MOST] if (named := text_at(one, "name")[:NAME_MAX])
        ),
        began_at=moment_at(row, "created_at"),
        at=moment_at(row, "updated_at"),
    )


class Trouble(Record):
    """What wasn't well when a page was asked last."""

    name: str
    status: str


class Seen(Record):
    """What a page, by its own id, said last: what wasn't well, by its id."""

    page: str = ""
    components: dict[str, Trouble] = {}
    notices: dict[str, Trouble] = {}


class News(NamedTuple):
    """What changed on a page since it was asked before."""

    components: tuple[Component, ...]
    notices: tuple[Notice, ...]
    seen: Seen


def news(said: Summary, before: Seen | None, *, unsure: bool = False) -> News:
    """What a page says now that it didn't `before`.

    With nothing known of before, all that is well is told, too: it may have become so while nobody looked. So it is
    where `unsure` says that more may have been told than is known. What it no longer lists is over, nobody knows since
    when: by our clock that could be before it began by the page's.
    """
    bad = {one.id: one for one in said.components if not one.over}
    bad = {key: bad[key] for key in list(bad)[:TROUBLES_MAX]}
    was = before.components if before else {}
    fresh = [one for key, one in bad.items() if key not in was or was[key].status != one.status]
    fresh += [one for one in said.components if one.over and (before is None or unsure or one.id in was)]
    there = {one.id for one in said.components}
    fresh += [Component(key, gone.name, GONE) for key, gone in was.items() if key not in there]
    notices = before.notices if before else {}
    told: tuple[Notice, ...] = ()
    if said.notices is not None:
        told, notices = tuple(_told(said.notices, notices)), _open(said.notices)
    components = {key: Trouble(name=one.name, status=one.status) for key, one in bad.items()}
    return News(tuple(fresh), told, Seen(page=said.page, components=components, notices=notices))


def _open(notices: Sequence[Notice]) -> dict[str, Trouble]:
    return {
        one.id: Trouble(name=one.name, status=f"{one.status}/{one.impact}")
        for one in [one for one in notices if not one.over][:TROUBLES_MAX]
    }


def _told(notices: Sequence[Notice], was: Mapping[str, Trouble]) -> Iterator[Notice]:
    now = _open(notices)
    for one in notices:
        if one.id in now and was.get(one.id) != now[one.id]:
            yield one
    for key, gone in was.items():
        if key not in now:
            yield Notice(key, gone.name, "resolved")
