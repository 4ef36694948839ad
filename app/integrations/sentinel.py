"""LLM Sentinel, which finds anomalies in the telemetry of models.

Source: `seed` is the first version's contract (an envelope {success, data, error, request_id} around everything);
`real` is LLM-Dev-Ops/sentinel, crates/sentinel-api, whose agents want to know whose execution they are part of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from pydantic import AliasChoices, AliasPath, BeforeValidator, Field

from app.domain.record import Record
from app.domain.vocabulary import Severity
from app.integrations.transport import Rest, understood, understood_all
from app.integrations.trouble import NotOffered, Trouble, line
from app.redaction import ALL_OUT, Outgoing

R = TypeVar("R", bound=Record)
Words = Annotated[tuple[str, ...], BeforeValidator(lambda said: said or ())]


def _kind(said: object) -> object:
    """Rust has a type of one's own as {"custom": "its name"}."""
    return next(iter(said.values()), None) if isinstance(said, dict) else said


Kind = Annotated[str, BeforeValidator(_kind)]


def _either(*names: str | AliasPath) -> Any:
    return AliasChoices(*names)


class Alert(Record):
    """One thing Sentinel has found. `confidence` is 0 to 1; `kind` a category or a type of anomaly, in its words."""

    id: str = Field(validation_alias=_either("alert_id", "id"))
    at: datetime = Field(validation_alias=_either("timestamp"))
    severity: Severity
    kind: Kind = Field(validation_alias=_either("anomaly_type", "category"))
    service: str = Field(validation_alias=_either("service_name", "source"))
    title: str = ""
    model: str | None = None
    confidence: float | None = Field(None, validation_alias=_either("confidence", "anomaly_score"))
    metric: str | None = Field(None, validation_alias=AliasPath("details", "metric"))
    value: float | None = Field(None, validation_alias=AliasPath("details", "value"))
    baseline: float | None = Field(None, validation_alias=AliasPath("details", "baseline"))
    root_cause: str | None = None
    advice: Words = Field((), validation_alias=_either("remediation", "recommended_actions"))
    affected: Words = Field((), validation_alias=_either("affected_resources"))


class Factor(Record):
    name: str
    value: float = 0
    contribution: float = 0
    description: str = ""


class Analysis(Record):
    """Whether what was shown is an anomaly. `severity` is None where Sentinel recommends none."""

    anomalous: bool = Field(validation_alias=_either("is_anomalous", "anomaly_detected"))
    confidence: float | None = Field(None, validation_alias=_either("confidence", AliasPath("anomaly", "confidence")))
    kind: Kind | None = Field(None, validation_alias=_either(AliasPath("anomaly", "anomaly_type"), "anomaly_type"))
    severity: Severity | None = Field(
        None, validation_alias=_either("recommended_severity", AliasPath("anomaly", "severity"))
    )
    factors: tuple[Factor, ...] = ()


class Alternative(Record):
    severity: Severity
    probability: float


class Prediction(Record):
    """How severe Sentinel thinks an incident is. `confidence` and the probabilities are 0 to 1."""

    severity: Severity = Field(validation_alias=_either("predicted_severity"))
    confidence: float = Field(ge=0, le=1)
    reasoning: str = ""
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Sentinel:
    """What it is shown goes there `clean`: without personal data and keys."""

    rest: Rest
    seed: bool = False
    clean: Outgoing = ALL_OUT

    async def fetch_alerts(
        self, limit: int = 100, *, service: str | None = None, model: str | None = None, hours: int = 1
    ) -> list[Alert]:
        """The newest alerts first, of one service or model where one is named. Raises: Trouble.

        The first version's API knows no filter: there they are taken from its `limit` newest, of whatever age.
        """
        if self.seed:
            path = f"/api/v1/alerts?{urlencode({'limit': limit})}"
            found = await self.rest.ask(lambda said: understood_all(Alert, opened(said)), "GET", path)
        else:
            asks = {"service": service, "model": model, "hours": hours, "limit": limit}
            said = self.clean.texts({name: value for name, value in asks.items() if value is not None})
            path = f"/api/v1/anomalies?{urlencode(said)}"
            found = await self.rest.ask(lambda said: understood_all(Alert, data(said)), "GET", path)
        those = [one for one in found if service in (None, one.service) and model in (None, one.model)]
        return sorted(those, key=lambda one: one.at, reverse=True)[:limit]

    async def analyze_anomaly(self, telemetry: Mapping[str, object]) -> Analysis:
        """What Sentinel makes of one telemetry event, given as it takes them. Nothing is kept there. Raises: Trouble.

        The published agent answers `anomaly_detected: false` to everything, as of 2026-02.
        """
        shown = self.clean.texts(telemetry)
        if self.seed:
            return await self.rest.ask(
                lambda said: understood(Analysis, opened(said)), "POST", "/api/v1/analyze", shown
            )
        body = {"telemetry": shown, "dry_run": True}
        return await self.rest.ask(
            lambda said: understood(Analysis, data(said)), "POST", "/api/v1/agents/anomaly/detect", body
        )

    async def predict_severity(
        self, description: str, incident_type: str, context: Mapping[str, object], historical: str | None = None
    ) -> Prediction:
        """Raises: Trouble; NotOffered by the published API, which has none."""
        if not self.seed:
            raise NotOffered("Sentinel's published API predicts no severity")
        body = {
            "description": self.clean.text(description), "incident_type": incident_type,
            "context": self.clean.texts(context), "historical_severity": historical,
        }  # fmt: skip
        return await self.rest.ask(
            lambda said: understood(Prediction, opened(said)), "POST", "/api/v1/predict-severity", body
        )

    async def health(self) -> None:
        """Raises: Trouble when it isn't well."""
        await self.rest.ask(lambda said: said, "GET", "/api/v1/health" if self.seed else "/health")


def opened(said: Any) -> Any:
    """What is in the first version's envelope. Raises: Trouble."""
    if not isinstance(said, dict) or not isinstance(said.get("success"), bool):
        raise Trouble("answered without its envelope", ill=True)
    if not said["success"]:
        raise Trouble(f"says {line(str(said.get('error') or 'no'))}", ill=False)
    return said.get("data")


def data(said: Any) -> Any:
    """What is in `data` of the published API's answers. Raises: Trouble."""
    if not isinstance(said, dict) or "data" not in said:
        raise Trouble("answered without data", ill=True)
    return said["data"]
