"""CloudEvents in each of the three ways that HTTP carries them."""

import json
from datetime import UTC, datetime

import pytest

from app.domain.alert import AlertStatus
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Environment, Severity
from app.sources import cloudevents
from app.sources.base import Post

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
EVENT = {
    "specversion": "1.0", "id": "1", "source": "/rag/indexer", "type": "com.acme.index.failed", "subject": "docs",
    "time": "2026-11-23T03:39:00+01:00", "datacontenttype": "application/json",
    "data": {"title": "The index could not be built", "severity": "P1", "service": "rag", "class": "rag.staleness"},
}  # fmt: skip


def structured(body: object, kind: str = "application/cloudevents+json; charset=utf-8") -> Inbound:
    return cloudevents.read(Post(json.dumps(body).encode(), NOW, headers={"content-type": kind}))


def test_binary_structured_and_batch_say_the_same() -> None:
    attributes = {f"ce-{name}": str(value) for name, value in EVENT.items() if not name.startswith("data")}
    headers = {**attributes, "content-type": "application/json", "user-agent": "x"}
    binary = cloudevents.read(Post(json.dumps(EVENT["data"]).encode(), NOW, headers=headers))
    one = structured(EVENT)
    assert binary == one == structured([EVENT], cloudevents.BATCH)
    [alert] = one.alerts
    assert (alert.title, alert.severity, alert.labels["class"]) == (
        "The index could not be built", Severity.P1, "rag.staleness",
    )  # fmt: skip
    assert (alert.affected_services, alert.starts_at) == (("rag",), datetime(2026, 11, 23, 2, 39, tzinfo=UTC))
    assert alert.delivery == "/rag/indexer\n1"


@pytest.mark.parametrize(("type_", "status"), [
    ("com.acme.index.recovered", AlertStatus.RESOLVED), ("com.acme.index.failed.v1", AlertStatus.FIRING),
    ("com.acme.indexRecovered", AlertStatus.RESOLVED), ("com.acme.IndexFailed", AlertStatus.FIRING),
])  # fmt: skip
def test_the_last_word_of_the_type_says_how_it_stands_and_the_rest_what(type_: str, status: AlertStatus) -> None:
    [failed] = structured(EVENT).alerts
    [alert] = structured({**EVENT, "id": "2", "type": type_}).alerts
    assert (alert.status, alert.identity) == (status, failed.identity)
    [other] = structured({**EVENT, "id": "3", "type": type_, "subject": "faq"}).alerts
    assert other.identity != alert.identity


def test_a_deploy_is_a_change_and_so_is_what_does_not_say_how_bad_it_is() -> None:
    data = {"summary": "chat 2.4.1", "service": "chat", "environment": "prod", "url": "https://ci/1"}
    inbound = structured({**EVENT, "type": "com.acme.chat.deployed", "data": data})
    [change] = inbound.changes
    assert not inbound.alerts
    assert (change.summary, change.services, change.environment) == ("chat 2.4.1", ("chat",), Environment.PRODUCTION)
    assert change.links == ({"href": "https://ci/1"},)
    unknown = {name: value for name, value in EVENT.items() if name != "data"} | {"type": "io.argoproj.tick"}
    assert structured(unknown).changes[0].summary == "io.argoproj.tick docs"
    assert structured({**EVENT, "type": "com.acme.gpu.melted"}).alerts, "it says a severity"


def test_extensions_say_what_data_that_is_no_object_cannot() -> None:
    plain = {**EVENT, "data": None, "data_base64": "AAEC", "severity": "low", "service": "rag"}
    [alert] = structured(plain).alerts
    assert (alert.title, alert.severity) == ("com.acme.index.failed docs", Severity.P3)
    assert alert.affected_services == ("rag",)


@pytest.mark.parametrize("broken", [
    {"specversion": "1.0"}, {**EVENT, "time": "yesterday"}, {**EVENT, "Bad-Name": 1}, {**EVENT, "source": 3}, 7,
    {**EVENT, "specversion": 1.0}, {**EVENT, "data": None, "data_base64": "é"},
])  # fmt: skip
def test_one_that_is_none_is_said_and_holds_back_no_other(broken: object) -> None:
    with pytest.raises(Invalid):
        structured(broken)
    inbound = structured([broken, EVENT], cloudevents.BATCH)
    assert [alert.title for alert in inbound.alerts] == [
        "cloudevents sent something that could not be read", "The index could not be built",
    ]  # fmt: skip
    assert inbound.alerts[0].description.startswith("[0] ")


def test_an_empty_batch_says_nothing() -> None:
    assert structured([], cloudevents.BATCH) == Inbound()
