"""Which kinds of errors the logs are full of, by Loki. It counts them itself: a line may hold a prompt, or be long.

Source of the API: https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-at-a-single-point-in-time
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlencode

from app.domain.digging import dug, listed
from app.domain.enrichment import About, Found, NoAnswer
from app.enrichers.asking import asked, credentials, escaped
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http

COUNTED = 50
KINDS = 8
FAILS = "(?i)(error|exception|fatal|panic|traceback|timeout|out of memory)"
KIND = (
    r"\b(?:[A-Z]\w{2,60}(?:Error|Exception|Timeout|Warning)|CUDA out of memory|OOMKilled|NCCL \w{1,30}"
    r"|NVRM: Xid|Segmentation fault|panic|HTTP [45]\d\d|status(?:_code)?[=: ]+[45]\d\d)\b"
)


@dataclass(frozen=True)
class Loki:
    http: Http
    url: str
    headers: Mapping[str, str]
    label: str
    window: timedelta
    timeout_secs: float
    name: ClassVar[str] = "loki"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, http: Http, _: Stores) -> Self | None:
        own = said.loki
        if own.url is None:
            return None
        window = timedelta(seconds=own.window_secs)
        return cls(http.named("loki"), own.url, credentials(own), own.label, window, said.patience(cls.name, 3))

    def key(self, about: About) -> str:
        return "\0".join(about.called[:1])

    async def look_up(self, about: About) -> Found | None:
        if not about.called:
            return None
        asks = {"query": self._counted(about.called[0]), "time": int(about.at.timestamp() * 1e9)}
        answer = await asked(self.http, f"{self.url}/loki/api/v1/query?{urlencode(asks)}", self.headers)
        if dug(answer, "status") != "success":
            raise NoAnswer("answered without success")
        counts: Counter[str] = Counter()
        for series in listed(dug(answer, "data", "result")):
            count = dug(series, "value", 1)
            if isinstance(count, str) and re.fullmatch(r"[0-9]{1,15}", count):
                counts[str(dug(series, "metric", "error_kind") or "other")[:100]] += int(count)
        return errors(counts, counts.total(), about, "Loki")

    def _counted(self, service: str) -> str:
        """Lines by the first kind of error they name. A kind nobody names is `other`: `regexp` drops no line."""
        lines = f'{{{self.label}="{escaped(service)}"}} |~ `{FAILS}` | regexp `(?P<error_kind>{KIND})`'
        by_kind = f"sum by (error_kind) (count_over_time({lines} [{self.window.total_seconds():.0f}s]))"
        return f"topk({COUNTED}, {by_kind})"


def errors(counted: Counter[str], lines: int, about: About, source: str) -> Found | None:
    """The most frequent kinds of errors in a line."""
    if not lines:
        return None
    most = counted.most_common(KINDS)
    summary = f"{lines} lines of errors: {', '.join(f'{kind} ×{count}' for kind, count in most[:4])}"
    return Found(summary=summary, data={"lines": lines, "kinds": dict(most)}, at=about.at, source=source)
