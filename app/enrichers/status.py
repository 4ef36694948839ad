"""What the providers say themselves, on their status pages.

Source of the format: https://status.claude.com/api/v2/summary.json (Statuspage); incident.io's pages, OpenAI's among
them, answer at the same place without `incidents`. Judged by the components that matter: the page as a whole also
speaks of what nobody here uses.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from app.domain.enrichment import About, Found, NoAnswer
from app.enrichers.asking import asked, dug, listed
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http

SAID_BY = ("provider", "api_provider", "llm_provider", "gen_ai.system", "gen_ai.provider.name")
SHOWN = 5


class Page(NamedTuple):
    url: str
    components: tuple[str, ...] = ()


KNOWN = {
    "openai": Page("https://status.openai.com", ("Chat Completions", "Responses", "Embeddings", "Batch")),
    "anthropic": Page("https://status.claude.com", ("Claude API",)),
    "cohere": Page("https://status.cohere.com"),
    "mistral": Page("https://status.mistral.ai"),
    "groq": Page("https://groqstatus.com"),
}


@dataclass(frozen=True)
class Status:
    http: Http
    pages: Mapping[str, Page]
    timeout_secs: float
    name: ClassVar[str] = "status"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, http: Http, _: Stores) -> Self | None:
        pages = {}
        for page in said.status_pages:
            known = KNOWN.get(page.provider.lower(), Page(""))
            url = page.url or known.url
            if url:
                pages[page.provider.lower()] = Page(url, page.components or known.components)
        return cls(http.by_host("status"), pages, said.patience(cls.name, 3)) if pages else None

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
        answer = await asked(self.http, f"{page.url}/api/v2/summary.json", {})
        states = [
            (str(dug(component, "name"))[:200], str(dug(component, "status"))[:100])
            for component in listed(dug(answer, "components"))
            if dug(component, "name") and dug(component, "status") and not dug(component, "group")
        ]
        matter = [(name, status) for name, status in states if matters(name, page.components)]
        if not matter:
            raise NoAnswer(
                f"{provider}'s status page has none of the components: {', '.join(page.components) or 'any'}"
            )
        return [{"component": name, "status": status} for name, status in matter if status != "operational"][:50]


def matters(name: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or any(one.lower() in name.lower() for one in wanted)


def told(troubles: list[dict[str, str]]) -> str:
    if not troubles:
        return "all operational"
    return ", ".join(f"{one['component']} {one['status'].replace('_', ' ')}" for one in troubles[:SHOWN])
