"""What an open outage of a model provider explains: that its models are slow, fail or turn requests away."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.domain.taxonomy import OUTAGE, named, stated
from app.domain.vocabulary import Environment, Severity

SAME = {
    "azureopenai": "azure", "azaiopenai": "azure", "azureaiopenai": "azure", "awsbedrock": "bedrock",
    "amazonbedrock": "bedrock", "gcpvertexai": "vertexai", "googlevertexai": "vertexai", "gcpgemini": "gemini",
    "googlegemini": "gemini", "claude": "anthropic", "mistralai": "mistral", "cohereai": "cohere",
}  # fmt: skip
"""What one provider is called by LiteLLM, OpenTelemetry and people, as `squeezed`, and the name for all."""
SYMPTOMS = ("performance.",)
CODES = ("exception_status", "status_code", "http_status", "error_code")
CODE = re.compile(r"408|429|5\d\d|5xx", re.IGNORECASE)
ERRORS = ("exception_class", "exception_type", "error_class", "error_type", "error")
ERROR = re.compile(
    r"(?:\w+\.)*(?:RateLimit|APITimeout|Timeout|APIConnection|InternalServer|ServiceUnavailable|BadGateway|Overloaded)"
    r"(?:_?Error)?|(?:rate_limit|overloaded|timeout|api)_error",
    re.IGNORECASE,
)
ALERT_TYPES = frozenset({"llm_too_slow", "llm_requests_hanging", "cooldown_deployment"})


class Scene(NamedTuple):
    """Where an incident happens, in words that can be compared; None where it doesn't say."""

    provider: str | None
    region: str | None
    environment: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Scene":
        """Of an incident's columns."""
        tags = row["tags"]
        return cls(provider(named(tags, "provider")), squeezed(named(tags, "region")) or None, row["environment"])

    def within(self, outage: "Scene") -> bool:
        """The same provider; neither another region nor another environment, as far as both say theirs.

        Who doesn't say its environment is not explained by what happens outside production.
        """
        return (
            self.provider is not None
            and self.provider == outage.provider
            and (self.region is None or outage.region in (None, self.region))
            and outage.environment in (None, self.environment or Environment.PRODUCTION)
        )


def squeezed(name: str | None) -> str:
    """Letters and digits in lower case: `us-east-1`, `us_east_1` and `US East 1` are one."""
    return re.sub(r"[^a-z0-9]", "", (name or "").lower())


def provider(name: str | None) -> str | None:
    """The one name of a provider, however it is written."""
    written = squeezed(name)
    return SAME.get(written, written) or None


def spellings(name: str) -> list[str]:
    """Every way in which `provider` takes a name for this one, squeezed."""
    return [name, *(written for written, meant in SAME.items() if meant == name)]


def outage(row: Mapping[str, Any]) -> bool:
    """Its source states that a provider is out: what a model merely takes for one explains nothing away."""
    return stated(row["tags"]) == OUTAGE


def symptom(row: Mapping[str, Any]) -> bool:
    """It may be what a provider's outage looks like from here. What states that it is anything else isn't.

    What a model takes it for counts only where it speaks for it: a status of 503 is a fact, its reading a guess.
    """
    tags = row["tags"]
    said = stated(tags)
    name = said or row["incident_class"]
    if name is not None and (name == OUTAGE or name.startswith(SYMPTOMS)):
        return True
    return said is None and (
        any(CODE.fullmatch(tags[label].strip()) for label in CODES if label in tags)
        or any(ERROR.fullmatch(tags[label].strip()) for label in ERRORS if label in tags)
        or tags.get("alert_type") in ALERT_TYPES
    )


def explains(there: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether an open outage explains an incident, which then needs no page of its own. A more urgent one does."""
    urgent = Severity(here["severity"]).worse_than(Severity(there["severity"]))
    return not urgent and Scene.of(here).within(Scene.of(there))
