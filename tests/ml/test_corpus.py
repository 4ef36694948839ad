"""The first day: what is known before anybody has labelled anything."""

from collections import Counter

import pytest

from app.domain.taxonomy import CLASSES, KINDS
from app.domain.vocabulary import Category, IncidentType
from app.ml.corpus import bootstrap
from app.ml.ensemble import Model
from app.ml.features import Example, Origin
from app.ml.training import train


@pytest.fixture(scope="module")
def newborn() -> Model:
    return train(bootstrap())


def test_every_class_is_told_in_at_least_eight_ways() -> None:
    counts = Counter(one.incident_class for one in bootstrap())
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 8
    assert len({one.example.model_dump_json() for one in bootstrap()}) == len(bootstrap())


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Anthropic API outage: 5xx on all Claude requests", "availability.provider_outage"),
        ("LiteLLM gateway is not reachable", "availability.gateway_down"),
        ("RateLimitError: too many requests to OpenAI (429)", "performance.rate_limit"),
        ("Key budget crossed: spend over max budget", "cost.budget"),
        ("CUDA out of memory in vllm-llama pod", "infrastructure.gpu_oom"),
        ("Prompt injection attempt blocked by guardrail", "security.prompt_injection"),
        ("PII found in chatbot answer", "privacy.pii_leak"),
        ("Time to first token p95 above SLO", "performance.latency"),
        ("kv_cache_usage_perc over 0.97 on vLLM", "capacity.kv_cache"),
        ("Embedding dimension mismatch expected 768 got 1024", "rag.embedding_mismatch"),
    ],
)
def test_an_llm_incident_is_known_on_the_first_day(newborn: Model, title: str, name: str) -> None:
    [said] = newborn.predict([Example(title=title)])
    assert said.incident_class == name
    assert (said.incident_type, said.category) == CLASSES[name][:2]


@pytest.mark.parametrize(
    "title",
    [
        "Disk space low on db-2", "CPU usage above 90% on host web-1", "TLS certificate expires in 3 days",
        "PostgreSQL replication lag", "Suspicious login to AWS console", "Kafka consumer lag high",
        "Printer on the third floor is out of paper", "",
    ],
)  # fmt: skip
def test_what_is_no_llm_incident_gets_no_class(newborn: Model, title: str) -> None:
    [said] = newborn.predict([Example(title=title)])
    assert said.incident_class is None


def test_a_general_alert_still_has_a_type(newborn: Model) -> None:
    [said] = newborn.predict([Example(title="Disk almost full on node-9")])
    assert (said.incident_class, said.incident_type) == (None, IncidentType.INFRASTRUCTURE)
    assert said.category is Category.AVAILABILITY


def test_the_first_day_model_has_no_label_of_the_team_and_is_never_sure_of_a_severity(newborn: Model) -> None:
    assert newborn.learned == {Origin.BOOTSTRAP: sum(one.severity is not None for one in bootstrap())}
    unheard = ["Robots stopped in hall 4", "Invoice numbers jumped", "Elevator is stuck", "Coffee is cold"]
    assert all(said.confidence < 0.7 for said in newborn.predict([Example(title=title) for title in unheard]))
