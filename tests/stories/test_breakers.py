"""Slack is down: it is left alone, the same level's mails go out at once, and every page reaches it when it is back."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from pydantic import SecretStr

from app.config import Bundling, Correlation, Notifications, RateLimit, Settings, Smtp, Storage, Temporal
from app.config import Slack as SlackSettings
from app.crew import crew, enriching
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.breaker import Config, Recovery, State
from app.domain.representation import NotificationView
from app.domain.vocabulary import ChannelName, DeliveryStatus
from app.net.breakers import Breakers
from app.runtime import Gateway, channels, services, temporal_client
from app.stack import temporal
from app.store.database import Pool
from tests.support.desk import Desk, a_database, sent, waits
from tests.support.receivers import mail_receiver
from tests.support.slack import fake_slack
from workers.roster import workers

INCIDENTS = 4
SOON_AGAIN = Config(failure_threshold=3, half_open_max=2, recovery=Recovery(initial_secs=1))
DOWN: tuple[int, dict[str, str]] = (503, {})


@asynccontextmanager
async def product(beside: str, said: Notifications, breakers: Breakers) -> AsyncIterator[Gateway]:
    """Everything in this process, with these breakers around the ways to people."""
    settings = Settings(
        storage=Storage(connection_string=SecretStr("postgresql://elsewhere")), notifications=said,
        correlation=Correlation(enabled=False),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(a_database(beside))
        client = await temporal_client(Temporal(address=await stack.enter_async_context(temporal())), lazy=False)
        ways = await stack.enter_async_context(channels(settings, breakers))
        around = await stack.enter_async_context(enriching(settings, database))
        made = services(settings, database, client, ways, breakers=breakers)
        for worker in workers(client, crew(settings, database, ways, around)):
            await stack.enter_async_context(worker)
        running = [asyncio.create_task(made.dispatcher.run()), asyncio.create_task(made.breaking.run())]
        try:
            yield made
        finally:
            for task in running:
                task.cancel()


async def opens(made: Gateway, source: str, n: int) -> str:
    [answer] = await made.alerts.ingest(ME, [Alert(source=source, title=f"model {n} is slow", identity=f"{source}{n}")])
    return answer.incident_id or ""


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await look():
            await asyncio.sleep(0.05)


async def test_a_message_that_nobody_was_asked_to_take_was_no_try_and_took_nobodys_turn(connections: Pool) -> None:
    desk = Desk(connections, Bundling(enabled=False), RateLimit(requests_per_minute=1, burst=1))
    held, next_ = await desk.decides(2)
    [claimed] = sent([await desk.claims(held)])
    await desk.store.not_sent(claimed.keys, "the circuit breaker smtp is open", timedelta(seconds=15), tried=False)
    shown = await desk.shown(held)
    assert (shown.attempts, shown.status, shown.last_error) == (0, "pending", "the circuit breaker smtp is open")
    assert shown.delayed_until is not None
    assert sent([await desk.claims(next_)])
    assert waits([await desk.claims(held)])


async def test_a_slack_that_is_down_delays_nobody_else_and_loses_and_doubles_nothing(database_url: str) -> None:
    source = f"story-{uuid.uuid4()}"
    targets = [{"type": "external", "id": "slack:C012AB3CD"}, {"type": "external", "id": "ann@example.com"}]
    levels = [{"targets": targets, "escalate_after_secs": 3600}]
    policy = {"name": source, "conditions": {"source": [source]}, "priority": 9, "levels": levels}
    breakers = Breakers({"slack": SOON_AGAIN})
    async with mail_receiver() as mails, fake_slack() as slack:
        slack.wrongs.extend([DOWN] * 1000)
        said = Notifications(
            bundling=Bundling(enabled=False), smtp=Smtp(host="127.0.0.1", port=mails.port, tls="plain"),
            slack=SlackSettings(base_url=slack.base_url, bot_token=SecretStr("xoxb-1")),
        )  # fmt: skip
        async with product(database_url, said, breakers) as made:
            await made.documents.put(ME, "escalation-policies", source, policy)
            incidents = [await opens(made, source, n) for n in range(INCIDENTS)]
            await mails.received(INCIDENTS)

            async def of_slack() -> list[NotificationView]:
                pages = [page for id_ in incidents for page in await made.incidents.notifications(ME, id_)]
                return [page for page in pages if page.channel is ChannelName.SLACK]

            async def somebody_was_held_back() -> bool:
                return any("circuit breaker slack is open" in (page.last_error or "") for page in await of_slack())

            await until(somebody_was_held_back)
            assert {page.status for page in await of_slack()} <= {DeliveryStatus.PENDING, DeliveryStatus.SENDING}
            assert (await made.breaking.get(ME, "slack")).open_count >= 1

            slack.wrongs.clear()

            async def all_arrived() -> bool:
                return all(page.sent_at is not None for page in await of_slack())

            await until(all_arrived)
            assert breakers.of("slack").breaker.state is State.CLOSED
            assert (len(slack.messages), len(mails.items)) == (INCIDENTS, INCIDENTS)
            # Whoever was held back did not try: each try is something that Slack has seen.
            assert sum(page.attempts for page in await of_slack()) == len(slack.items)
