"""LLM Sentinel's webhook: an anomaly, signed.

Source: LLM-Dev-Ops/sentinel, crates/sentinel-alerting/src/webhook.rs and sentinel-core/src/events.rs. It signs its
compact JSON before it puts the signature into that as its last member, and the same into `X-Sentinel-Signature`. It
never says that something is over.
"""

import re
from collections.abc import Iterator, Sequence

import orjson

from app.domain.alert import AlertStatus
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Forged, Post, Source, canonical, pseudonym
from app.sources.reports import moment, number, part, word
from app.sources.signatures import check_age, check_hex

SIGNATURE = "x-sentinel-signature"
CUT = (re.compile(rb',\s*"signature"\s*:\s*"[^"\\]*"'), re.compile(rb'"signature"\s*:\s*"[^"\\]*"\s*,\s*'))
CLASSES = {
    "latency_spike": "performance.latency", "throughput_degradation": "capacity.queue",
    "error_rate_increase": "availability.provider_outage", "token_usage_spike": "cost.runaway",
    "cost_anomaly": "cost.runaway", "input_drift": "drift.data", "output_drift": "drift.model",
    "concept_drift": "drift.model", "embedding_drift": "drift.data", "hallucination": "quality.hallucination",
    "quality_degradation": "quality.drop", "security_threat": "security.prompt_injection",
}  # fmt: skip


def read(post: Post) -> Inbound:
    """Raises: Invalid."""
    event = part(post.json, "data")
    kind, service, model = (word(part(event, name)) for name in ("anomaly_type", "service_name", "model"))
    if not (isinstance(event, dict) and kind):
        raise Invalid.field("data.anomaly_type", "is required: it must be an anomaly event of LLM Sentinel")
    about, context = part(event, "details"), part(event, "context")
    figures = {name: number(part(about, name)) for name in ("value", "baseline", "threshold", "deviation_sigma")}
    metric, steps = word(part(about, "metric")), part(event, "remediation")
    said = ", ".join(f"{name} {figure:g}" for name, figure in figures.items() if figure is not None)
    remedies = [f"- {text}" for text in map(word, steps if isinstance(steps, list) else ()) if text]
    cause = word(part(event, "root_cause"))
    user = part(context, "user_id")
    alert = canonical(
        "sentinel", f"{kind.replace('_', ' ')} in {service or 'an unnamed service'}" + (f" ({model})" if model else ""),
        f"{service}/{model}/{kind}",
        incident_class=CLASSES.get(kind),
        severity=_severity(word(part(event, "severity"))),
        status=AlertStatus.FIRING,
        description="\n".join(filter(None, (f"{metric}: {said}" if metric else said, cause, *remedies))),
        service=service or None,
        labels={
            "model": model, "anomaly_type": kind, "metric": metric, "region": word(part(context, "region")),
            "detection_method": word(part(event, "detection_method")),
        },
        notes={
            "confidence": number(part(event, "confidence")), "trace_id": word(part(context, "trace_id")),
            "time_window": word(part(context, "time_window")), "sample_count": number(part(context, "sample_count")),
            "user": pseudonym(user) if isinstance(user, str) and user else "",
        } | {name: figure for name, figure in figures.items() if figure is not None},
        delivery=word(part(event, "alert_id")) or None,
        external_id=f"{service}/{model}/{kind}",
        starts_at=moment(part(event, "timestamp")),
        runbook_url=word(part(event, "runbook_url")) or None,
    )  # fmt: skip
    return Inbound(alerts=(alert,))


def verify(post: Post, secrets: Sequence[str]) -> None:
    """Whether it is signed as Sentinel's code does it, or over the body as it is. Raises: Forged, Stale."""
    given = post.headers.get(SIGNATURE)
    for content in _signed(post):
        try:
            check_hex(post, secrets, given, content)
        except Forged:
            continue
        sent = moment(part(_json(post), "timestamp"))
        check_age(post.at, str(sent.timestamp()) if sent else None)
        return
    raise Forged("The signature is missing or wrong.")


def _signed(post: Post) -> Iterator[bytes]:
    """What the signature may have been made of."""
    yield post.body
    for member in CUT:
        yield member.sub(b"", post.body)
    if isinstance(said := _json(post), dict):
        bare = {name: value for name, value in said.items() if name != "signature"}
        yield orjson.dumps(bare)
        yield orjson.dumps(bare, option=orjson.OPT_SORT_KEYS)


def _json(post: Post) -> object:
    try:
        return post.json
    except Invalid:
        return None


def _severity(name: str) -> Severity | None:
    try:
        return Severity(name)
    except ValueError:
        return None


SAYS = Source(read, verify, longest=1_048_576)
