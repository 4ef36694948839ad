"""The integrations behind the service's own circuit breakers."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from app.domain.breaker import Config, State
from app.domain.enrichment import About, NoAnswer, Resting
from app.domain.vocabulary import Severity
from app.enrichers import INTEGRATED
from app.integrations.shield import Suspicion
from app.integrations.trouble import Trouble
from app.net.breakers import Breakers
from app.surroundings import Enrichment
from tests.support.receivers import Reply
from tests.support.siblings import NOW, FakeHttp, four, rpc
from tests.support.vendor import up

ABOUT = Suspicion(id="e", kind="security.jailbreak", source="guard", text="…", at=NOW)


async def test_over_http_and_over_grpc_who_is_ill_is_left_alone_until_he_is_well() -> None:
    now = datetime(2026, 11, 29, tzinfo=UTC)
    config = Config(failure_threshold=3, success_threshold=1)
    breakers = Breakers({"sentinel": config, "shield": config}, now=lambda: now)
    async with (
        up(FakeHttp()) as other,
        rpc() as spoken,
        four(
            None, breakers, llm_sentinel={"endpoint": other.base},
            llm_shield={"endpoint": spoken.url, "dialect": "seed"},
        ) as made,
    ):  # fmt: skip
        assert made.sentinel is not None
        assert made.shield is not None
        other.replies.extend([Reply(500)] * 3)
        spoken.fails = [grpc.StatusCode.UNAVAILABLE] * 3
        for asked, name in (
            (made.sentinel.fetch_alerts, "sentinel"),
            (lambda: made.shield.analyze_threat(ABOUT), "shield"),
        ):
            with pytest.raises(Trouble):
                await asked()
            assert breakers.of(name).breaker.state is State.OPEN
            with pytest.raises(Trouble, match="circuit breaker is open") as caught:
                await asked()
            assert caught.value.retry_after_secs
            assert not caught.value.doubtful
            assert "breaker" not in (made.lines[name].last_error or "")  # why it opened, not that it is open
        assert (len(other.items), len(spoken.calls)) == (3, 3)
        now += timedelta(hours=1)
        other.replies.append(Reply(404))  # who says no is there
        with pytest.raises(Trouble, match="404"):
            await made.sentinel.fetch_alerts()
        await made.shield.analyze_threat(ABOUT)
        assert breakers.of("sentinel").breaker.state is State.CLOSED
        assert breakers.of("shield").breaker.state is State.CLOSED


async def test_while_one_is_left_alone_its_enricher_says_so_that_the_last_answer_may_stand() -> None:
    about = About(
        incident_id="1", title="injection", source="guard", severity=Severity.P2, services=("chat",),
        incident_class="security.prompt_injection", started_at=NOW, at=NOW,
    )  # fmt: skip
    config = Config(failure_threshold=3)
    async with (
        up(FakeHttp()) as other,
        four(
            None, Breakers({"sentinel": config, "shield": config}), llm_sentinel={"endpoint": other.base},
            llm_shield={"endpoint": other.base},
        ) as made,
    ):  # fmt: skip
        for name in ("sentinel", "shield"):
            enricher = INTEGRATED[name](Enrichment(), made)
            assert enricher is not None
            other.replies.extend([Reply(500)] * 3)
            with pytest.raises(NoAnswer):
                await enricher.look_up(about)
            with pytest.raises(Resting, match="circuit breaker is open"):
                await enricher.look_up(about)
