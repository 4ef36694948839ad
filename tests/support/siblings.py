"""Sentinel, Shield, Edge-Agent and Governance on loopback, in both dialects, well and ill.

Sources: the first version's contract and proto/integrations.proto (`seed`); the published projects' APIs (`real`).
"""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import grpc

from app.integrating import Integrations
from app.integrations.breaking import Breakers
from app.integrations.four import Four
from app.integrations.pb import integrations_pb2 as pb
from app.integrations.pb import integrations_pb2_grpc as pb_grpc
from app.net.http import LOOPBACK
from app.siblings import opened
from app.store.database import Pool
from tests.support.receivers import Request
from tests.support.vendor import Answered, Vendor

NOW = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)
POLICY = str(UUID(int=5))
SECRET = "hush"


def anomaly(service: str = "chat", minutes_ago: int = 5, **more: object) -> dict[str, object]:
    """As the published Sentinel has it."""
    return {
        "alert_id": str(UUID(int=minutes_ago)), "timestamp": (NOW - timedelta(minutes=minutes_ago)).isoformat(),
        "severity": "high", "anomaly_type": "latency_spike", "service_name": service, "model": "gpt-9",
        "detection_method": "zscore", "confidence": 0.95, "root_cause": None, "remediation": ["scale out"],
        "details": {"metric": "latency_ms", "value": 5000, "baseline": 800, "threshold": 2000, "additional": {}},
        "context": {"trace_id": None, "sample_count": 50}, "related_alerts": [],
    } | more  # fmt: skip


def alert(source: str = "chat", **more: object) -> dict[str, object]:
    """As the first version's Sentinel has it."""
    return {
        "id": "a-1", "timestamp": NOW.isoformat(), "severity": "critical", "category": "model_drift",
        "title": "drift", "description": "it drifts", "source": source, "affected_resources": ["chat"],
        "metadata": {}, "anomaly_score": 0.9, "recommended_actions": ["retrain"],
    } | more  # fmt: skip


class FakeHttp(Vendor):
    """All four over HTTP. `wants` is the header by which they know us; `log` the audit log."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.wants: tuple[str, str] | None = None
        self.found: list[dict[str, object]] = [anomaly()]
        self.threat = (True, 0.0)
        self.violations: list[dict[str, object]] = []
        self.compliant = True
        self.log: list[dict[str, Any]] = []
        self.gateway_secret: str | None = None
        self.loses_entry = False

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        if self.wants is not None and request.headers.get(self.wants[0]) != self.wants[1]:
            return 401, {"error": "who are you?"}
        body = json.loads(request.body) if request.body else {}
        for those in (self._sentinel, self._shield, self._edge, self._governance):
            if (said := those(request, path, query, body)) is not None:
                return said
        return 404, {"error": f"no {path}"}

    def _sentinel(self, request: Request, path: str, query: dict[str, str], body: Any) -> Answered | None:
        match request.method, path:
            case "GET", "/api/v1/alerts":
                return 200, enveloped([alert(), alert("search", id="a-2")][: int(query["limit"])])
            case "POST", "/api/v1/analyze":
                return 200, enveloped({
                    "id": "x", "timestamp": NOW.isoformat(), "is_anomalous": body["latency_ms"] > 1000,
                    "confidence": 0.8, "anomaly_type": "latency", "factors": [], "recommended_severity": "high",
                    "context": {},
                })  # fmt: skip
            case "POST", "/api/v1/predict-severity":
                return 200, enveloped({
                    "predicted_severity": "medium", "confidence": 0.66, "reasoning": body["description"],
                    "alternatives": [{"severity": "low", "probability": 0.2}],
                })  # fmt: skip
            case "GET", "/api/v1/anomalies":
                those = [one for one in self.found if query.get("service") in (None, one["service_name"])]
                return 200, {"data": those, "metadata": {"total_count": len(those)}}
            case "POST", "/api/v1/agents/anomaly/detect":
                if "x-parent-span-id" not in request.headers:
                    return 400, {"error": "X-Parent-Span-Id is required"}
                return 200, {"data": {"anomaly_detected": False, "status": "success"}, "execution": {}}
        return None

    def _shield(self, request: Request, path: str, query: dict[str, str], body: Any) -> Answered | None:
        if not path.startswith("/v1/scan/"):
            return None
        if self.gateway_secret is not None and not signed(request.headers, self.gateway_secret):
            return 401, {"code": "INVALID_CALLER_TOKEN"}
        if not {"x-execution-id", "x-parent-span-id"} <= request.headers.keys():
            return 400, {"error": "no execution context"}
        valid, score = self.threat
        scanner = {"scanner": "prompt_injection", "isValid": valid, "riskScore": score}
        return 200, {
            "isValid": valid, "riskScore": score, "sanitizedText": "", "scannerResults": [scanner], "scanTimeMs": 3,
            "cacheHit": False, "execution": {},
        }  # fmt: skip

    def _edge(self, request: Request, path: str, query: dict[str, str], body: Any) -> Answered | None:
        if path != "/v1/chat/completions":
            return None
        said = f"re: {body['messages'][0]['content']}"
        return 200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": said}}]}

    def _governance(self, request: Request, path: str, query: dict[str, str], body: Any) -> Answered | None:
        match request.method, path.split("/")[1:]:
            case "GET", ["health"] | ["api", "v1", "health"]:
                return 200, {"status": "healthy"}
            case "POST", ["api", "v1", "compliance", "check"]:
                return 200, {
                    "request_id": body["id"], "incident_id": body["incident_id"], "is_compliant": self.compliant,
                    "violations": self.violations, "recommendations": [], "checked_at": NOW.isoformat(),
                }  # fmt: skip
            case "POST", ["api", "v1", "audit", "report", incident]:
                return 200, {
                    "id": "r-1", "incident_id": incident, "report_type": body["report_type"], "total_checks": 3,
                    "compliant_checks": 2, "violations": [], "summary": "two of three",
                }  # fmt: skip
            case "GET", ["api", "v1", "governance", "metrics"]:
                return 200, {"total_checks": 7, "passed_checks": 5, "failed_checks": 2, "total_violations": 2}
            case "GET", ["api", "v1", "governance", "summary"]:
                return 200, wrapped({"audits": 4})
            case "GET", ["api", "v1", "policies"]:
                return 200, wrapped({"policies": [{"id": POLICY, "name": "EU"}], "total": 1})
            case "POST", ["api", "v1", "policies", _, "evaluate"]:
                return 200, wrapped({"passed": not self.violations, "violations": self.violations, "warnings": []})
            case "GET", ["api", "v1", "audit", "logs"]:
                those = [one for one in self.log if one["resource_id"] == query["resource_id"]]
                return 200, wrapped({"logs": those, "limit": 1000, "offset": 0})
            case "POST", ["api", "v1", "audit", "logs"]:
                entry = {**body, "id": f"log-{len(self.log)}", "checksum": "c0ffee"}
                self.log.append(entry)
                if self.loses_entry:
                    self.loses_entry = False
                    return 502, {"error": "the gateway lost it"}
                return 201, wrapped(entry)
        return None


def enveloped(data: object) -> dict[str, object]:
    return {"success": True, "data": data, "error": None, "request_id": "q"}


def wrapped(data: object) -> dict[str, object]:
    return {"success": True, "data": data}


def signed(headers: Mapping[str, str], secret: str) -> bool:
    """As Shield's gateway judges."""
    said = f"{headers.get('x-caller-id', '')}|{headers.get('x-caller-issued-at', '')}"
    wanted = hmac.new(secret.encode(), said.encode(), sha256).hexdigest()
    age = datetime.now(UTC) - datetime.fromisoformat(headers.get("x-caller-issued-at", "1970-01-01T00:00:00+00:00"))
    return hmac.compare_digest(wanted, headers.get("x-caller-signature", "")) and abs(age) < timedelta(minutes=5)


class FakeTokens(Vendor):
    """An OAuth 2 token server that knows one client."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.given = 0
        self.expires_in: object = 3600

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        login = base64.b64encode(b"us:hush").decode()
        if request.headers.get("authorization") != f"Basic {login}" or form["grant_type"] != "client_credentials":
            return 401, {"error": "invalid_client"}
        self.given += 1
        return 200, {"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": self.expires_in}


@dataclass
class FakeRpc(pb_grpc.ShieldServiceServicer, pb_grpc.EdgeAgentServiceServicer):
    """Shield and Edge-Agent over gRPC. `fails` answers the next calls so; `silent`: it never answers an inference."""

    wants: tuple[str, str] | None = None
    fails: list[grpc.StatusCode] = field(default_factory=list)
    confidence: float = 0.9
    level: str = "high"
    calls: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    inferred: list[pb.InferenceRequest] = field(default_factory=list)
    silent: bool = False
    silent_after: int | None = None
    status: str = "COMPLETED"
    ends_after: int | None = None
    synced: list[str] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _called(self, name: str, context: Any, request: object = "") -> None:
        self.calls.append(name)
        self.shown.append(str(request))
        metadata = dict(context.invocation_metadata())
        if self.wants is not None and metadata.get(self.wants[0]) != self.wants[1]:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        if self.fails:
            await context.abort(self.fails.pop(0), "not now")

    async def AnalyzeSecurityEvent(self, request: Any, context: Any) -> Any:
        await self._called("analyze", context, request)
        return pb.ThreatAnalysisResponse(
            analysis_id=f"t-{request.event_id}", threat_type="prompt_injection", confidence_score=self.confidence,
            severity_level=self.level, indicators=["ignore previous"], affected_systems=["chat"],
        )  # fmt: skip

    async def AssessRisk(self, request: Any, context: Any) -> Any:
        await self._called("risk", context, request)
        factor = pb.RiskFactor(factor_type="exposure", description="public", impact_score=0.5, likelihood=0.4)
        return pb.RiskAssessmentResponse(assessment_id="r", risk_level="HIGH", risk_score=0.8, risk_factors=[factor])

    async def GenerateMitigationPlan(self, request: Any, context: Any) -> Any:
        await self._called("plan", context, request)
        steps = [pb.MitigationStep(order=2, action="rotate"), pb.MitigationStep(order=1, action="block")]
        return pb.MitigationPlanResponse(plan_id="p", steps=steps, estimated_duration_minutes=20)

    async def ReportSecurityPattern(self, request: Any, context: Any) -> Any:
        await self._called("pattern", context, request)
        return pb.SecurityPatternResponse(pattern_id="pt", is_known_pattern=True, pattern_name="DAN", confidence=0.7)

    async def StreamInference(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        await self._called("stream", context)
        told = 0
        async for one in requests:
            self.inferred.append(one)
            if self.silent or (self.silent_after is not None and told >= self.silent_after):
                continue
            yield pb.InferenceResponse(request_id=one.request_id, status=self.status, result=one.input_data.upper())
            told += 1
            self.answered.set()
            if told == self.ends_after:
                return
        if self.silent or self.silent_after is not None:
            await asyncio.Event().wait()

    async def SubmitBatch(self, request: Any, context: Any) -> Any:
        await self._called("batch", context, request)
        return pb.BatchResponse(
            batch_id=request.batch_id, status="QUEUED", total_requests=len(request.requests), queued_requests=1
        )

    async def SyncWithHub(self, request: Any, context: Any) -> Any:
        await self._called("sync", context)
        those = [one for one in request.pending_request_ids if one in self.synced]
        return pb.SyncResponse(sync_id="s", synced_requests=those)

    async def GetResourceUsage(self, request: Any, context: Any) -> Any:
        await self._called("usage", context)
        return pb.ResourceUsageResponse(
            agent_id=request.agent_id, current_usage=pb.ResourceSnapshot(cpu_percent=12.5, queued_requests=3)
        )


@asynccontextmanager
async def rpc(fake: FakeRpc | None = None, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[FakeRpc]:
    """Both services on one port: the one it had before, if it had one."""
    fake = fake or FakeRpc()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_ShieldServiceServicer_to_server(fake, server)
    pb_grpc.add_EdgeAgentServiceServicer_to_server(fake, server)
    address = f"127.0.0.1:{fake.port}"
    fake.port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(None)


@asynccontextmanager
async def four(
    connections: Pool | None = None, breakers: Breakers | None = None, **sections: Mapping[str, object]
) -> AsyncIterator[Four]:
    """The clients, set up as `integrations` has it. They give up soon, and try again at once."""
    quick = {"timeout_secs": 3, "backoff_secs": 0.01, "rate_per_sec": 1000}
    said = Integrations.model_validate({name: {**quick, **of} for name, of in sections.items()})
    async with opened(said, LOOPBACK, connections, breakers) as made:  # type: ignore[arg-type]
        yield made


Count = Callable[[], int]
