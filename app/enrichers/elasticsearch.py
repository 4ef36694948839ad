"""Which kinds of errors the logs are full of, by Elasticsearch or OpenSearch. No line of a log is fetched.

Source of the API: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import quote

from app.domain.digging import dug, listed
from app.domain.enrichment import About, Found
from app.enrichers.asking import asked, credentials
from app.enrichers.loki import KINDS, errors
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http


@dataclass(frozen=True)
class Elasticsearch:
    http: Http
    url: str
    headers: Mapping[str, str]
    service_field: str
    error_field: str
    window: timedelta
    timeout_secs: float
    name: ClassVar[str] = "elasticsearch"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, http: Http, _: Stores) -> Self | None:
        own = said.elasticsearch
        if own.url is None:
            return None
        key = {"authorization": f"ApiKey {own.api_key.get_secret_value()}"} if own.api_key else credentials(own)
        return cls(
            http.named("elasticsearch"), f"{own.url}/{quote(own.index, safe=',*')}/_search", key,
            own.service_field, own.error_field, timedelta(seconds=own.window_secs), said.patience(cls.name, 3),
        )  # fmt: skip

    def key(self, about: About) -> str:
        return "\0".join(about.called[:1])

    async def look_up(self, about: About) -> Found | None:
        if not about.called:
            return None
        since, until = ((about.at - back).isoformat() for back in (self.window, timedelta(0)))
        ask = {
            "size": 0, "track_total_hits": True,
            "query": {"bool": {"filter": [
                {"term": {self.service_field: about.called[0]}},
                {"range": {"@timestamp": {"gte": since, "lte": until}}},
                {"exists": {"field": self.error_field}},
            ]}},
            "aggs": {"kinds": {"terms": {"field": self.error_field, "size": KINDS}}},
        }  # fmt: skip
        answer = await asked(self.http, self.url, self.headers, ask)
        counted: Counter[str] = Counter()
        for bucket in listed(dug(answer, "aggregations", "kinds", "buckets")):
            counted[str(dug(bucket, "key"))[:100]] = number(dug(bucket, "doc_count"))
        total = number(dug(answer, "hits", "total", "value"))
        return errors(counted, total or counted.total(), about, "Elasticsearch")


def number(found: object) -> int:
    """A count in somebody's JSON; 0 where something else is there, or more than there can be."""
    return found if isinstance(found, int) and 0 <= found < 2**53 else 0
