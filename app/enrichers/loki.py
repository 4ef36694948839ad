"""Which kinds of errors the logs are full of, by Loki. No line of a log is kept: it may hold a prompt.

Source of the API: https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlencode

from app.config import Enrichment
from app.domain.enrichment import About, Found
from app.enrichers.asking import asked, credentials, dug, listed

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http

LINES = 500
KINDS = 8
FAILS = "(?i)(error|exception|fatal|panic|traceback|timeout|out of memory)"
KIND = re.compile(
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
        return cls(http, own.url, credentials(own), own.label, window, said.patience(cls.name, 3))

    def key(self, about: About) -> str:
        return "\0".join(about.called[:1])

    async def look_up(self, about: About) -> Found | None:
        if not about.called:
            return None
        asks = {
            "query": f"{{{self.label}={json.dumps(about.called[0])}}} |~ `{FAILS}`", "limit": LINES,
            "start": int((about.at - self.window).timestamp() * 1e9), "end": int(about.at.timestamp() * 1e9),
            "direction": "backward",
        }  # fmt: skip
        answer = await asked(self.http, f"{self.url}/loki/api/v1/query_range?{urlencode(asks)}", self.headers)
        lines = [
            str(dug(value, 1) or "")
            for stream in listed(dug(answer, "data", "result"))
            for value in listed(dug(stream, "values"))
        ]
        return errors(Counter(kind for line in lines for kind in kinds(line)), len(lines), about, "Loki")


def kinds(line: str) -> set[str]:
    """The kinds of errors a line names; `other` where it names none."""
    return {found.group() for found in KIND.finditer(line[:10_000])} or {"other"}


def errors(counted: Counter[str], lines: int, about: About, source: str) -> Found | None:
    """The most frequent kinds of errors in a line."""
    if not lines:
        return None
    most = counted.most_common(KINDS)
    summary = f"{lines} lines of errors: {', '.join(f'{kind} ×{count}' for kind, count in most[:4])}"
    return Found(summary=summary, data={"lines": lines, "kinds": dict(most)}, at=about.at, source=source)
