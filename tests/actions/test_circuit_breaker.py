"""A playbook's hand on a circuit breaker."""

from dataclasses import replace

import pytest

from app.actions.base import Failed
from app.actions.circuit_breaker import CircuitBreaker
from app.books import operating
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.net.breakers import Breakers
from app.net.http import Http
from app.service.breakers import Breaking
from app.store.breakers import BreakerStore
from app.store.database import Pool
from tests.support.acting import action, at, tools


async def test_it_is_opened_once_in_the_playbooks_name_and_closed_when_that_is_undone(
    http: Http, connections: Pool
) -> None:
    breaking = Breaking(Breakers(), BreakerStore(connections))
    acting = action("circuit_breaker", replace(tools(http), operate=operating(breaking)))
    assert acting.destructive
    asked = CircuitBreaker.Parameters(name="governance", action="open", reason="it says everything is fine")
    assert await acting.check(asked, at()) == "open the circuit breaker governance, which is closed"
    done = await acting.run(asked, at())
    assert (await acting.run(asked, at())).summary == done.summary == "governance is open"
    shown = await breaking.get(ME, "governance")
    assert (shown.by, shown.reason, shown.forced) == ("playbook:slow-chat", "it says everything is fine", True)
    assert (await acting.undo(asked, done, at())).summary == "governance is closed"
    close = CircuitBreaker.Parameters(name="governance", action="close")
    assert (await acting.run(close, at())).summary == "governance is closed"
    assert "left alone" in (await acting.undo(close, done, at())).summary


async def test_one_that_there_isnt_is_refused_for_good(http: Http, connections: Pool) -> None:
    breaking = Breaking(Breakers(), BreakerStore(connections))
    acting = action("circuit_breaker", replace(tools(http), operate=operating(breaking)))
    with pytest.raises(Failed, match="nobody") as no:
        await acting.check(CircuitBreaker.Parameters(name="nobody", action="open"), at())
    assert no.value.retry_after is None
