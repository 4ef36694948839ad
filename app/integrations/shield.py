"""LLM Shield, which judges threats.

Source: `seed` is proto/integrations.proto; `real` is LLM-Dev-Ops/shield, crates/llm-shield-api: it scans texts and
knows nothing of risks and plans. Its gateway's signature: middleware/gateway.rs (hex HMAC-SHA256 of `caller|moment`).
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BeforeValidator, Field

from app.domain.record import Record
from app.domain.vocabulary import Severity
from app.integrating import Shield as Said
from app.integrations.pb import integrations_pb2 as pb
from app.integrations.rpc import Rpc
from app.integrations.transport import Rest, execution, understood
from app.integrations.trouble import NotOffered, Trouble
from app.redaction import ALL_OUT, Outgoing

if TYPE_CHECKING:
    from app.integrations.pb.integrations_pb2_grpc import ShieldServiceAsyncStub

SURE = 0.7
"""How sure of a threat Shield must be before a plan against it is asked for (the contract's)."""
WORDS = {
    Severity.P0: "critical", Severity.P1: "high", Severity.P2: "medium", Severity.P3: "low", Severity.P4: "info",
}  # fmt: skip
Share = Annotated[float, Field(ge=0, le=1)]


def _severity(said: object) -> object:
    return said or None


class Suspicion(Record):
    """What Shield is asked about: an event, or a text that went into a model (`text`) or came out (`output`)."""

    id: str
    kind: str
    source: str
    text: str
    output: str | None = None
    severity: Severity = Severity.P2
    metadata: dict[str, str] = {}
    at: datetime


class Threat(Record):
    """What it is, and how sure Shield is (0 to 1). `kind` is "none" where a scan found nothing."""

    id: str
    kind: str
    confidence: Share
    severity: Annotated[Severity | None, BeforeValidator(_severity)] = None
    indicators: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    description: str = ""


class Factor(Record):
    kind: str
    description: str
    impact: float
    likelihood: float


class Risk(Record):
    """`level` is LOW, MEDIUM, HIGH or CRITICAL; `score` 0 to 1."""

    id: str
    level: str
    score: Share
    factors: tuple[Factor, ...] = ()
    recommendations: tuple[str, ...] = ()


class Step(Record):
    order: int
    action: str
    description: str = ""
    automation: str = ""
    after: tuple[str, ...] = ()


class Plan(Record):
    id: str
    steps: tuple[Step, ...]
    minutes: int
    priority: str = ""
    resources: tuple[str, ...] = ()


class Pattern(Record):
    id: str
    known: bool
    name: str = ""
    confidence: Share = 0
    similar: tuple[str, ...] = ()
    recommendation: str = ""


class Scanned(Record):
    """One scanner's verdict within a scan, as far as it is told."""

    scanner: str = Field("", validation_alias="scanner")
    valid: bool = Field(True, validation_alias="isValid")
    score: float = Field(0, validation_alias="riskScore")


class Scan(Record):
    """The verdict of all scanners together."""

    valid: bool = Field(validation_alias="isValid")
    score: Share = Field(validation_alias="riskScore")
    results: tuple[Scanned, ...] = Field((), validation_alias="scannerResults")


@dataclass(frozen=True)
class Shield:
    """`rpc` is the first version's dialect, `rest` the published one: there is one of them.

    What it is shown goes there `clean`: without personal data and keys.
    """

    rest: Rest | None = None
    rpc: "Rpc[ShieldServiceAsyncStub] | None" = None
    clean: Outgoing = ALL_OUT

    async def analyze_threat(self, about: Suspicion) -> Threat:
        """Raises: Trouble."""
        shown = ("text", "output", "metadata")
        about = about.model_copy(update={name: self.clean.texts(getattr(about, name)) for name in shown})
        if self.rest is not None:
            return await _scanned(self.rest, about)
        request = pb.SecurityEventRequest(
            event_id=about.id, event_type=about.kind, source=about.source, description=about.text,
            metadata=about.metadata, timestamp=stamp(about.at), severity=WORDS[about.severity],
        )  # fmt: skip
        return await self._rpc("").ask(lambda stub: stub.AnalyzeSecurityEvent, request, _threat)

    async def assess_risk(
        self, context_id: str, event_ids: Sequence[str], assessment: str = "incident",
        parameters: Mapping[str, str] | None = None,
    ) -> Risk:  # fmt: skip
        """Raises: Trouble; NotOffered by the published API."""
        request = pb.RiskAssessmentRequest(
            context_id=context_id, event_ids=event_ids, assessment_type=assessment,
            parameters=self.clean.texts(parameters or {}),
        )  # fmt: skip
        return await self._rpc("assesses no risks").ask(lambda stub: stub.AssessRisk, request, _risk)

    async def report_pattern(
        self, kind: str, event_ids: Sequence[str], description: str, attributes: Mapping[str, str] | None = None
    ) -> Pattern:
        """Whether Shield knows the pattern that these events make. Raises: Trouble; NotOffered by the published API."""
        request = pb.SecurityPatternRequest(
            pattern_type=kind, event_ids=event_ids, description=self.clean.text(description),
            attributes=self.clean.texts(attributes or {}),
        )  # fmt: skip
        return await self._rpc("knows no patterns").ask(lambda stub: stub.ReportSecurityPattern, request, _pattern)

    async def mitigation_plan(self, threat: Threat, context: Mapping[str, str] | None = None) -> Plan | None:
        """What to do; None, and nobody asked, while the threat is less sure than 0.7.

        Raises: Trouble; NotOffered by the published API.
        """
        rpc = self._rpc("makes no plans")
        if threat.confidence < SURE:
            return None
        request = pb.MitigationRequest(
            threat_id=threat.id, threat_type=threat.kind, severity=WORDS[threat.severity] if threat.severity else "",
            affected_systems=threat.affected, context=self.clean.texts(context or {}),
        )  # fmt: skip
        return await rpc.ask(lambda stub: stub.GenerateMitigationPlan, request, _plan)

    async def health(self) -> None:
        """Raises: Trouble when it isn't well. The first version's has no health check: a connection is what counts."""
        if self.rest is not None:
            await self.rest.ask(lambda said: said, "GET", "/health")
        elif self.rpc is not None:
            await self.rpc.connected()

    def _rpc(self, lacks: str) -> "Rpc[ShieldServiceAsyncStub]":
        if self.rpc is None:
            raise NotOffered(f"Shield's published API {lacks}")
        return self.rpc


async def _scanned(rest: Rest, about: Suspicion) -> Threat:
    path, body = "/v1/scan/prompt", {"prompt": about.text, "scanners": [], "cacheEnabled": True}
    if about.output is not None:
        path, body = "/v1/scan/output", {**body, "output": about.output}
    found = await rest.ask(lambda said: understood(Scan, said), "POST", path, body)
    worst = max((one for one in found.results if not one.valid), key=lambda one: one.score, default=None)
    return Threat(
        id=about.id, kind="none" if found.valid else (worst.scanner if worst else "") or "threat",
        confidence=found.score, indicators=tuple(one.scanner for one in found.results if not one.valid),
    )  # fmt: skip


def signed(said: Said) -> Callable[[], Mapping[str, str]]:
    """What each request to the published API shows beside who we are."""

    def headers() -> Mapping[str, str]:
        if said.gateway_secret is None:
            return execution()
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        secret = said.gateway_secret.get_secret_value().encode()
        signature = hmac.new(secret, f"{said.caller_id}|{moment}".encode(), sha256).hexdigest()
        caller = {"x-caller-id": said.caller_id, "x-caller-signature": signature, "x-caller-issued-at": moment}
        return execution() | caller

    return headers


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def _threat(said: pb.ThreatAnalysisResponse) -> Threat:
    return understood(Threat, {
        "id": said.analysis_id or str(uuid4()), "kind": _there(said, "threat_type"),
        "confidence": said.confidence_score, "severity": said.severity_level, "indicators": tuple(said.indicators),
        "affected": tuple(said.affected_systems), "description": said.description,
    })  # fmt: skip


def _risk(said: pb.RiskAssessmentResponse) -> Risk:
    factors = [
        Factor(kind=one.factor_type, description=one.description, impact=one.impact_score, likelihood=one.likelihood)
        for one in said.risk_factors
    ]
    return understood(Risk, {
        "id": said.assessment_id, "level": _there(said, "risk_level"), "score": said.risk_score,
        "factors": factors, "recommendations": tuple(said.recommendations),
    })  # fmt: skip


def _plan(said: pb.MitigationPlanResponse) -> Plan:
    steps = [
        Step(
            order=one.order, action=one.action, description=one.description, automation=one.automation_available,
            after=tuple(one.dependencies),
        )
        for one in sorted(said.steps, key=lambda one: one.order)
    ]  # fmt: skip
    return Plan(
        id=_there(said, "plan_id"), steps=tuple(steps), minutes=said.estimated_duration_minutes,
        priority=said.priority, resources=tuple(said.required_resources),
    )  # fmt: skip


def _pattern(said: pb.SecurityPatternResponse) -> Pattern:
    return understood(Pattern, {
        "id": _there(said, "pattern_id"), "known": said.is_known_pattern, "name": said.pattern_name,
        "confidence": said.confidence, "similar": tuple(said.similar_patterns), "recommendation": said.recommendation,
    })  # fmt: skip


def _there(said: Message, name: str) -> Any:
    """A field that an answer without is no answer. Raises: Trouble."""
    value = getattr(said, name)
    if not value:
        raise Trouble(f"answered without {name}", ill=True)
    return value
