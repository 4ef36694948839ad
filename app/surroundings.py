"""The settings of what is looked up around an incident."""

import re
from string import Template
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from app.section import Count, Name, Seconds, Section, Share, WebUrl

PROMQL_VARIABLES = ("service", "model", "group", "provider", "node")
PROMQL_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')


def _promql(query: str) -> str:
    """Values come from alerts: they stand in quotes, where they are escaped, or nowhere."""
    template = Template(query)
    if not template.is_valid():
        raise ValueError("has a $ that begins no variable; write $$ for the sign itself")
    if unknown := set(template.get_identifiers()) - set(PROMQL_VARIABLES):
        raise ValueError(f"has no value for ${min(unknown)}; there are ${', $'.join(PROMQL_VARIABLES)}")
    if "$" in PROMQL_QUOTED.sub("", query):
        raise ValueError("may have variables only inside quotes")
    return query


class Remote(Section):
    """Somebody else's system that is asked over HTTP: nobody, while there is no `url`."""

    url: WebUrl | None = Field(None, description="Its base address; none = it isn't asked.")
    bearer_token: SecretStr | None = Field(None, description="Sent as Authorization: Bearer.")
    username: str | None = Field(None, description="Basic authentication, with the password.")
    password: SecretStr | None = Field(None, description="Basic authentication.")
    window_secs: Seconds = Field(1800, description="How far back is looked, from now.")


class Prometheus(Remote):
    queries: dict[Name, Annotated[str, AfterValidator(_promql)]] = Field(
        {}, description="Name → PromQL with $service, $model, $group, $provider, $node in quotes; asked where known."
    )


class Loki(Remote):
    label: Name = Field("app", description="The stream label that holds the service's name.")


class Elasticsearch(Remote):
    index: Name = Field("logs-*", description="The index or data stream.")
    api_key: SecretStr | None = Field(None, description="Sent as Authorization: ApiKey.")
    service_field: Name = Field("service.name", description="The field that holds the service's name.")
    error_field: Name = Field("error.type", description="The field that holds the kind of error.")


class StatusPage(Section):
    provider: Name = Field(description="As alerts call it in their label `provider`, like openai.")
    url: WebUrl | None = Field(None, description="The page's base address; none = the known one of the provider.")
    components: tuple[str, ...] = Field((), description="Those that matter; none = the provider's known ones, or all.")


class Enrichment(Section):
    prometheus: Prometheus = Field(Prometheus(), description="Metrics around an incident.")
    loki: Loki = Field(Loki(), description="Kinds of errors in Loki's logs.")
    elasticsearch: Elasticsearch = Field(Elasticsearch(), description="Kinds of errors in Elasticsearch's logs.")
    status_pages: tuple[StatusPage, ...] = Field((), max_length=50, description="Providers' own word.")
    status_poll_secs: Annotated[float, Field(ge=0, le=86_400)] = Field(
        90, description="How often those pages are asked for alerts of their own; 0 = never."
    )
    enabled: bool = Field(True, description="Look up what is known around an incident.")
    enable_historical: bool = Field(True, description="Similar incidents of the past.")
    enable_service: bool = Field(True, description="The service catalogue.")
    enable_team: bool = Field(True, description="The owning team and who is on call.")
    timeout_secs: Seconds = Field(10, description="The longest one look-up may take.")
    cache_ttl_secs: Seconds = Field(300, description="How long an answer is used again.")
    async_enrichment: bool = Field(True, description="Off: a first page waits for all look-ups.")
    page_wait_secs: Annotated[float, Field(ge=0, le=60)] = Field(2, description="How long a first page waits.")
    max_concurrent: Count = Field(5, description="Look-ups of one incident at the same time.")
    similarity_threshold: Share = Field(0.5, description="How alike a past incident must be, 0 to 1.")
    history_days: Annotated[float, Field(gt=0, le=3660)] = Field(365, description="How far back incidents are alike.")
    enable_changes: bool = Field(True, description="What was changed shortly before.")
    changes_window_secs: Seconds = Field(3600, description="How long before an incident a change may explain it.")
    timeouts_secs: dict[Name, Seconds] = Field({}, description="Enricher → the longest it may take; none = its own.")

    def patience(self, enricher: str, usual: float) -> float:
        """Seconds that one enricher has."""
        return min(self.timeouts_secs.get(enricher, usual), self.timeout_secs)
