"""What the providers say themselves, on their status pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain.enrichment import About, Found, NoAnswer
from app.domain.status_page import KNOWN, SUMMARY, WELL, Page, Summary, matters, summary
from app.enrichers.asking import answered, asked, parsed
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http

SAID_BY = ("provider", "api_provider", "llm_provider", "gen_ai.system", "gen_ai.provider.name")
SHOWN = 5
UNCHANGED = 304


def pages(said: Enrichment) -> dict[str, Page]:
    """Provider → its page, of those that the settings name and that have an address."""
    found = {}
    for page in said.status_pages:
        known = KNOWN.get(page.provider.lower(), Page(""))
        if url := page.url or known.url:
            found[page.provider.lower()] = Page(url, page.components or known.components)
    return found


def relevant(provider: str, page: Page, said: Summary) -> Summary:
    """What a page says of the components that matter. Raises: NoAnswer when it has none of them."""
    matter = tuple(one for one in said.components if matters(one.name, page.components))
    if not matter:
        raise NoAnswer(f"{provider}'s status page has none of the components: {', '.join(page.components) or 'any'}")
    notices = said.notices
    if notices is not None:
        notices = tuple(one for one in notices if one.concerns(page.components) and not one.maintenance)
    return Summary(said.page, matter, notices)


@dataclass
class Watched:
    """A page that is asked again and again. Its answer is kept for when it says that nothing has changed since."""

    http: Http
    provider: str
    page: Page
    etag: str = ""
    last: Summary | None = None

    async def look(self) -> Summary:
        """What it says of what matters. Raises: NoAnswer."""
        known = {"if-none-match": self.etag} if self.etag and self.last else {}
        answer = await answered(self.http, f"{self.page.url}{SUMMARY}", known)
        if answer.status == UNCHANGED and self.last is not None:
            return self.last
        self.last = relevant(self.provider, self.page, summary(parsed(answer)))
        self.etag = answer.headers.get("etag", "")
        return self.last


@dataclass(frozen=True)
class Status:
    http: Http
    pages: Mapping[str, Page]
    timeout_secs: float
    name: ClassVar[str] = "status"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, http: Http, _: Stores) -> Self | None:
        found = pages(said)
        return cls(http.by_host("status"), found, said.patience(cls.name, 3)) if found else None

    def key(self, about: About) -> str:
        return "\0".join(self._named(about))

    async def look_up(self, about: About) -> Found | None:
        named = self._named(about)
        if not named:
            return None
        answers = await asyncio.gather(*(self._ask(provider) for provider in named), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if len(failures) == len(answers) or not isinstance(failure, NoAnswer):
                raise failure
        said = {name: answer for name, answer in zip(named, answers, strict=True) if isinstance(answer, list)}
        summary = "; ".join(f"{provider}: {told(troubles)}" for provider, troubles in said.items())
        return Found(summary=summary, data=dict(said), at=about.at, source="status page")

    def _named(self, about: About) -> list[str]:
        """The providers an incident names, in its labels, or else in its title."""
        tags = {about.tags[label].lower() for label in SAID_BY if about.tags.get(label)}
        named = tags or {
            page for page in self.pages if re.search(rf"(?<!\w){re.escape(page)}(?!\w)", about.title.lower())
        }
        return sorted(named & self.pages.keys())

    async def _ask(self, provider: str) -> list[dict[str, str]]:
        """The components that matter and aren't well."""
        page = self.pages[provider]
        said = summary(await asked(self.http, f"{page.url}{SUMMARY}", {}))
        matter = relevant(provider, page, said).components
        return [{"component": one.name, "status": one.status} for one in matter if one.status != WELL][:50]


def told(troubles: list[dict[str, str]]) -> str:
    if not troubles:
        return "all operational"
    return ", ".join(f"{one['component']} {one['status'].replace('_', ' ')}" for one in troubles[:SHOWN])
