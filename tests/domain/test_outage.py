"""What an outage of a provider explains, and what it doesn't."""

from typing import Any

import pytest

from app.domain.grouping import Joining, Place, coming_along
from app.domain.outage import SAME, Scene, explains, outage, provider, spellings, squeezed, symptom


def row(severity: str = "P2", environment: str | None = None, known: str | None = None, **tags: str) -> dict[str, Any]:
    tags = {name.rstrip("_"): value for name, value in tags.items()}
    return {"severity": severity, "environment": environment, "incident_class": known, "tags": tags}


OUT = row("P1", "production", class_="availability.provider_outage", provider="OpenAI", region="us-east-1")


@pytest.mark.parametrize(
    ("here", "explained"),
    [
        (row(provider="openai"), True),
        (row(api_provider="Open AI", region="US East 1", environment="production"), True),
        (row("P1", provider="openai"), True),
        (row("P0", provider="openai"), False),
        (row(provider="anthropic"), False),
        (row(provider="azure"), False),
        (row(provider="openai", region="eu-west-1"), False),
        (row(provider="openai", environment="staging"), False),
        (row(model="gpt-5.1"), False),
        (row(provider=""), False),
    ],
)
def test_the_same_provider_is_explained_but_no_other_place_and_nothing_more_urgent(
    here: dict[str, Any], explained: bool
) -> None:
    assert explains(OUT, here) is explained


def test_an_outage_that_names_no_place_is_everywhere() -> None:
    everywhere = row("P1", class_="availability.provider_outage", provider="openai")
    assert explains(everywhere, row(provider="openai", region="eu-west-1", environment="staging"))
    assert not explains(row("P1"), row())


def test_an_outage_outside_production_explains_only_what_says_to_be_there() -> None:
    staged = row("P1", "staging", class_="availability.provider_outage", provider="openai")
    assert explains(staged, row(provider="openai", environment="staging"))
    assert not explains(staged, row(provider="openai"))


def test_a_provider_is_one_however_it_is_written() -> None:
    assert provider("AWS Bedrock") == provider("aws.bedrock") == provider("bedrock") == "bedrock"
    assert provider("az.ai.openai") == provider("azure") != provider("openai")
    assert provider("") is provider("…") is provider(None) is None
    for written, meant in SAME.items():
        assert squeezed(written) == written
        assert written in spellings(meant)
        assert meant not in SAME
    assert Scene.of(row(**{"gen_ai.provider.name": "gcp.vertex_ai"})).provider == "vertexai"


@pytest.mark.parametrize(
    ("here", "suffers"),
    [
        (row(class_="performance.rate_limit"), True),
        (row(class_="availability.provider_outage"), True),
        (row(known="performance.latency"), True),
        (row(class_="availability.gateway_down"), False),
        (row(class_="security.guardrail_outage", status_code="503"), False),
        (row(class_="cost.budget", known="performance.latency"), False),
        (row(class_="ssh", exception_status="429"), True),
        (row(status_code="503"), True),
        (row(status_code="5xx"), True),
        (row(status_code="404"), False),
        (row(known="quality.drop"), False),
        (row(known="agent.loop", status_code="503"), True),
        (row(exception_class="litellm.RateLimitError"), True),
        (row(error_type="rate_limit_error"), True),
        (row(error_type="AuthenticationError"), False),
        (row(alert_type="llm_too_slow"), True),
        (row(alert_type="budget_alerts"), False),
        (row(), False),
    ],
)
def test_symptoms_are_slowness_errors_and_refusals_and_nothing_that_is_something_else(
    here: dict[str, Any], suffers: bool
) -> None:
    assert symptom(here) is suffers


def test_only_what_a_source_states_is_an_outage() -> None:
    assert outage(OUT)
    assert not outage(row(known="availability.provider_outage"))


PLACES = (Place(incident_id="new"), Place(incident_id="out", group_id="g"), Place(incident_id="other", group_id="g"))


def test_who_is_explained_comes_along_and_nothing_joins_by_it() -> None:
    assert coming_along("new", ["out"], PLACES, ()) == Joining(group_id="g", overflow=("new",))
    alone = (Place(incident_id="new"), Place(incident_id="out"))
    assert coming_along("new", ["out"], alone, ()) == Joining(group_id=None, joins=("out",), overflow=("new",))


def test_who_is_in_a_group_stays_and_who_was_taken_apart_does_not_come_back() -> None:
    assert coming_along("other", ["out"], PLACES, ()) is None
    assert coming_along("new", ["out"], PLACES, [frozenset(("new", "other"))]) is None
    assert coming_along("new", ["gone"], PLACES, ()) is None
