"""How many lines of log there are, and a few of them, without their secrets.

Source of the APIs: https://grafana.com/docs/loki/latest/reference/loki-http-api/ (query, query_range) and
https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-search.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self
from urllib.parse import quote, urlencode

from pydantic import Field, StringConstraints

from app.actions.api import answered
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.channels.base import plain
from app.domain.digging import dug, listed
from app.domain.enrichment import cut
from app.domain.record import Record
from app.enrichers.asking import credentials, escaped
from app.net.http import Http
from app.surroundings import Elasticsearch, Loki
from app.telemetry.logs import redacted

LONGEST_LINE = 500
Words = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Logs(Protocol):
    async def found(self, service: str, asked: "LogsCapture.Parameters", at: Situation) -> tuple[int, list[str]]:
        """How many lines there are, and the newest of them as they stand. Raises: Failed."""
        ...


@dataclass(frozen=True)
class InLoki:
    http: Http
    own: Loki

    async def found(self, service: str, asked: "LogsCapture.Parameters", at: Situation) -> tuple[int, list[str]]:
        stream = f'{{{self.own.label}="{escaped(service)}"}}'
        stream += f' |= "{escaped(asked.contains)}"' if asked.contains else ""
        now = int(at.now.timestamp() * 1e9)
        count = f"sum(count_over_time({stream} [{asked.minutes}m]))"
        counted = await self._asked("query", {"query": count, "time": now}, at)
        lines: list[str] = []
        if asked.lines:
            since = now - asked.minutes * 60 * 10**9
            asks = {"query": stream, "start": since, "end": now, "limit": asked.lines, "direction": "backward"}
            streams = listed(dug(await self._asked("query_range", asks, at), "data", "result"))
            values = [value for one in streams for value in listed(dug(one, "values"))]
            values.sort(key=lambda value: str(dug(value, 0)), reverse=True)
            lines = [str(dug(value, 1)) for value in values[: asked.lines]]
        return whole(dug(counted, "data", "result", 0, "value", 1)), lines

    async def _asked(self, kind: str, asks: dict[str, Any], at: Situation) -> Any:
        url = f"{self.own.url}/loki/api/v1/{kind}?{urlencode(asks)}"
        answer = await answered(self.http, "GET", url, credentials(self.own), at)
        if dug(answer, "status") != "success":
            raise Failed("Loki answered without success")
        return answer


@dataclass(frozen=True)
class InElasticsearch:
    http: Http
    own: Elasticsearch

    async def found(self, service: str, asked: "LogsCapture.Parameters", at: Situation) -> tuple[int, list[str]]:
        since = {"gte": f"{at.now.isoformat()}||-{asked.minutes}m", "lte": at.now.isoformat()}
        those: list[dict[str, Any]] = [{"term": {self.own.service_field: service}}, {"range": {"@timestamp": since}}]
        if asked.contains:
            those.append({"match_phrase": {"message": asked.contains}})
        ask = {
            "size": asked.lines, "track_total_hits": True, "_source": ["message"],
            "sort": [{"@timestamp": "desc"}], "query": {"bool": {"filter": those}},
        }  # fmt: skip
        key = self.own.api_key
        headers = {"authorization": f"ApiKey {key.get_secret_value()}"} if key else credentials(self.own)
        url = f"{self.own.url}/{quote(self.own.index, safe=',*')}/_search"
        answer = await answered(self.http, "POST", url, headers, at, ask)
        hits = listed(dug(answer, "hits", "hits"))
        return whole(dug(answer, "hits", "total", "value")), [str(dug(hit, "_source", "message")) for hit in hits]


@dataclass(frozen=True)
class LogsCapture(Plain):
    """It only reads: twice is harmless. Loki is asked where it is set up, else Elasticsearch (its field `message`).

    `service`: none = the first one the incident affects. `contains`: words that each line has, up to 200 characters.
    `minutes`: how far back, 1 to 1,440. `lines`: how many of the newest are kept, 0 to 20, each cut to 500 characters
    and without what looks like a password, token or key.
    """

    logs: Logs

    class Parameters(Record):
        service: Words | None = None
        contains: Words | None = None
        minutes: int = Field(15, ge=1, le=1440)
        lines: int = Field(5, ge=0, le=20)

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        said = tools.settings.enrichment
        if said.loki.url:
            return cls(InLoki(tools.http.named("loki"), said.loki))
        return (
            cls(InElasticsearch(tools.http.named("elasticsearch"), said.elasticsearch))
            if said.elasticsearch.url
            else None
        )

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"keep {asked.lines} lines of the log; at present: {(await self.run(asked, at)).summary}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        service = asked.service or next(iter(at.incident.affected_resources), None) or at.incident.tags.get("service")
        if not service:
            raise Failed("the incident names no service: give one as `service`")
        count, lines = await self.logs.found(service, asked, at)
        with_ = f" with {asked.contains!r}" if asked.contains else ""
        return Done(
            summary=redacted(f"{count} lines of {service}{with_} in {asked.minutes} min"),
            output={
                "service": service,
                "count": count,
                "lines": [cut(redacted(plain(one)), LONGEST_LINE) for one in lines],
            },
        )


def whole(found: object) -> int:
    """A count in somebody's JSON, a number or its digits; 0 where there is none."""
    text = str(found)
    return int(text) if text.isdecimal() and len(text) < 16 else 0
