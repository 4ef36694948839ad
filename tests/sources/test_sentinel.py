"""Sentinel's webhook: the signature over what it was before it got it, and the anomaly itself."""

import hmac
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from app.domain.vocabulary import Severity
from app.sources import sentinel
from app.sources.base import Forged, Post, Stale

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
ANOMALY = {
    "alert_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "timestamp": "2026-11-23T03:39:58.1Z", "severity": "high",
    "anomaly_type": "latency_spike", "service_name": "chat", "model": "gpt-5", "detection_method": "zscore",
    "confidence": 0.95, "details": {"metric": "latency_ms", "value": 5000.0, "baseline": 150.0, "threshold": 500.0,
    "deviation_sigma": 5.2, "additional": {"prompt": "my card is 4111"}}, "context": {"trace_id": "t1",
    "user_id": "ada@example.com", "region": "eu", "time_window": "5m", "sample_count": 1000, "additional": {}},
    "root_cause": None, "remediation": ["Scale out"], "related_alerts": [], "runbook_url": "https://wiki/latency",
}  # fmt: skip
PAYLOAD = {"event_type": "anomaly.detected", "timestamp": "2026-11-23T03:39:59.5Z", "data": ANOMALY}
COMPACT = json.dumps(PAYLOAD, separators=(",", ":")).encode()


def mac(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, sha256).hexdigest()


def post(body: bytes, signature: str | None, at: datetime = NOW) -> Post:
    return Post(body, at, headers={"x-sentinel-signature": signature} if signature else {})


def signed(by: str = "s1", at: datetime = NOW) -> Post:
    """As Sentinel does it: the signature becomes the last member of what it is of."""
    signature = mac(by, COMPACT)
    return post(COMPACT[:-1] + b',"signature":"' + signature.encode() + b'"}', signature, at)


def test_the_signature_may_be_of_the_body_with_or_without_itself_and_however_it_is_written() -> None:
    sentinel.verify(signed(), ["s1"])
    sentinel.verify(post(COMPACT, mac("s1", COMPACT)), ["s1"])
    first = b'{"signature":"x",' + COMPACT[1:]
    sentinel.verify(post(first, mac("s1", COMPACT)), ["s1"])
    pretty = json.dumps({**PAYLOAD, "signature": "x"}, indent=2).encode()
    sentinel.verify(post(pretty, mac("s1", COMPACT)), ["s1"])
    ordered = json.dumps(PAYLOAD, separators=(",", ":"), sort_keys=True).encode()
    sentinel.verify(post(pretty, mac("s1", ordered)), ["s1"])


def test_while_secrets_are_rotated_both_are_good_and_no_other() -> None:
    for secret in ("old", "new"):
        sentinel.verify(signed(secret), ["new", "old"])
    with pytest.raises(Forged):
        sentinel.verify(signed("third"), ["new", "old"])


@pytest.mark.parametrize("bad", [
    post(COMPACT, None), post(COMPACT, "00"), post(COMPACT, "é"), post(b"no json", mac("s2", b"no json")),
    post(COMPACT.replace(b"chat", b"shop"), mac("s1", COMPACT)),
])  # fmt: skip
def test_what_is_not_signed_so_is_refused(bad: Post) -> None:
    with pytest.raises(Forged):
        sentinel.verify(bad, ["s1"])


def test_a_copy_that_comes_late_is_refused_and_one_that_comes_at_once_is_the_same_delivery() -> None:
    with pytest.raises(Stale):
        sentinel.verify(signed(at=NOW + timedelta(minutes=6)), ["s1"])
    [once], [again] = (sentinel.read(signed()).alerts for _ in range(2))
    assert once.delivery == again.delivery == ANOMALY["alert_id"]


def test_an_anomaly_is_an_alert_of_its_class_and_tells_nothing_of_users() -> None:
    [alert] = sentinel.read(signed()).alerts
    assert (alert.title, alert.severity) == ("latency spike in chat (gpt-5)", Severity.P1)
    assert (alert.labels["class"], alert.affected_services) == ("performance.latency", ("chat",))
    assert alert.description.startswith("latency_ms: value 5000, baseline 150, threshold 500, deviation_sigma 5.2")
    assert alert.runbook_url == "https://wiki/latency"
    assert "4111" not in str(alert)
    assert "ada@" not in str(alert)
    other = {**PAYLOAD, "data": {**ANOMALY, "alert_id": "other", "confidence": 0.5}}
    [same] = sentinel.read(post(json.dumps(other).encode(), None)).alerts
    assert (same.identity, same.delivery) == (alert.identity, "other")
