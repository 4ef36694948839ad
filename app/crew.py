"""The activities, constructed: the worker's half of the composition root."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from pydantic import ValidationError
from temporalio.client import Client

from activities.classifying import Champion, Classifying
from activities.correlating import Correlating
from activities.directory import Directory
from activities.enriching import Enriching
from activities.holding import Holding
from activities.judging import Judging
from activities.playbooks import Playbooks as PlaybookDeeds
from activities.polling import Polling, Watched
from activities.projection import Projection
from activities.routing import Routing
from activities.sending import Sending, Words
from activities.triage import Triage
from activities.upkeep import Upkeep
from activities.watching import Watching
from app import books
from app.actions.base import Action
from app.channels.base import Channel
from app.channels.rendering import rendered
from app.config import Settings
from app.domain.access import Principal
from app.domain.correlation import Rules, Strategy
from app.domain.notification import Message
from app.domain.suppression import Flapping
from app.domain.template import Template
from app.domain.vocabulary import ActorType, ChannelName, Role
from app.enrichers import ENRICHERS, INTEGRATED, status
from app.enrichers.answers import Answers
from app.enrichers.base import Stores
from app.integrations.four import NOBODY, Four
from app.net.breakers import Breakers
from app.net.http import Http
from app.runtime import NO_ACTIONS, accepting, link, lived, public, reachable, redacting, targets, watchdog
from app.service.breakers import Breaking
from app.service.clicks import OneClick
from app.service.incidents import Incidents
from app.store.catalogue import CatalogueStore
from app.store.changes import ChangeStore
from app.store.database import Pool
from app.store.deliveries import DeliveryStore
from app.store.documents import DocumentStore
from app.store.enrichments import EnrichmentStore
from app.store.facts import FactStore
from app.store.grouping import GroupStore
from app.store.history import HistoryStore
from app.store.holding import HoldingStore
from app.store.incidents import IncidentStore
from app.store.messages import MessageStore
from app.store.models import ModelStore
from app.store.routing import RoutingStore
from app.store.turns import TurnStore
from app.surroundings import Enrichment
from app.telemetry import metrics

PAGE_ANSWERS_WITHIN_SECS = 10.0


@dataclass(frozen=True)
class Crew:
    """The activities, with their dependencies."""

    triage: Triage
    enriching: Enriching
    upkeep: Upkeep
    directory: Directory
    projection: Projection
    sending: Sending
    playbooks: PlaybookDeeds
    polling: Polling
    watching: Watching


@asynccontextmanager
async def enriching(
    settings: Settings, connections: Pool, breakers: Breakers | None = None, four: Four = NOBODY
) -> AsyncIterator[Enriching]:
    """What looks around incidents, as the settings have it: nobody, where that is switched off."""
    said = settings.enrichment
    stores = Stores(
        HistoryStore(connections), DocumentStore(connections), CatalogueStore(connections), ChangeStore(connections)
    )
    answers = Answers.made(said.cache_ttl_secs, settings.redis.url)
    async with Http(reachable(settings), deadline_secs=said.timeout_secs, breakers=breakers) as http:
        made = [configured(said, http, stores) for configured in ENRICHERS.values()] if said.enabled else []
        made += [configured(said, four) for configured in INTEGRATED.values()] if said.enabled else []
        try:
            yield Enriching(
                [enricher for enricher in made if enricher is not None], EnrichmentStore(connections), answers,
                metrics.enriched, said.max_concurrent, said.timeout_secs, redacting(settings).found,
            )  # fmt: skip
        finally:
            await answers.close()


def crew(
    settings: Settings,
    connections: Pool,
    channels: Mapping[ChannelName, Channel],
    enriching: Enriching,
    actions: Mapping[str, Action] = NO_ACTIONS,
    pages: Sequence[Watched] = (),
) -> Crew:
    """The activities over open connections, channels, enrichers, the actions of playbooks and status pages."""
    incidents, documents, messages, deliveries = (
        IncidentStore(connections, targets(settings)), DocumentStore(connections), MessageStore(connections),
        DeliveryStore(
            connections, settings.notifications.rate_limits, settings.notifications.bundling, targets(settings)
        ),
    )  # fmt: skip
    escalation = settings.escalation
    one_click = OneClick(FactStore(connections), public(settings), settings.notifications.one_click_secs)
    directory = Directory(documents, messages, TurnStore(connections), frozenset(channels))
    return Crew(
        triage=Triage(
            incidents=incidents,
            documents=documents,
            messages=messages,
            default_policy=escalation.default_policy,
            classifying=classifying(settings, connections),
            correlating=correlating(settings, connections),
            routing=Routing(documents, RoutingStore(connections), metrics.routed),
            holding=Holding(documents, HoldingStore(connections), flapping(settings)),
            observe=metrics.triaged,
            judging=Judging(ModelStore(connections), CatalogueStore(connections)),
            enriching=enriching if enriching.enrichers else None,
            page_wait_secs=page_wait_secs(settings.enrichment),
            escalation_enabled=escalation.enabled,
        ),
        enriching=enriching,
        upkeep=Upkeep(ModelStore(connections), metrics.trained),
        directory=directory,
        projection=Projection(incidents, metrics.count),
        sending=Sending(channels, deliveries, partial(link, settings), metrics.took, own_words(documents), one_click),
        playbooks=books.deeds(settings, connections, incidents, directory, channels, actions, one_click),
        polling=polling(settings, connections, pages),
        watching=watchdog(settings, connections, accepting(settings, connections)),
    )


@asynccontextmanager
async def status_pages(settings: Settings, breakers: Breakers | None = None) -> AsyncIterator[Sequence[Watched]]:
    """The status pages that are asked every now and then."""
    said = settings.enrichment
    deadline = min(said.timeout_secs, PAGE_ANSWERS_WITHIN_SECS)
    async with Http(reachable(settings), deadline_secs=deadline, breakers=breakers) as http:
        yield [status.Watched(http.by_host("status"), provider, page) for provider, page in status.pages(said).items()]


def polling(settings: Settings, connections: Pool, pages: Sequence[Watched]) -> Polling:
    poller = Principal(name="statuspage", role=Role.INGEST, actor_type=ActorType.INTEGRATION, id="tool:statuspage")
    return Polling(pages, partial(accepting(settings, connections).ingest, poller), metrics.polled)


def classifying(settings: Settings, connections: Pool) -> Classifying | None:
    if not settings.ml.enabled:
        return None
    models = ModelStore(connections)
    return Classifying(models, Champion(models), settings.ml.confidence_threshold, metrics.predicted)


def correlating(settings: Settings, connections: Pool) -> Correlating | None:
    said = settings.correlation
    if not said.enabled:
        return None
    strategies = frozenset(strategy for strategy in Strategy if getattr(said, f"enable_{strategy}", True))
    rules = Rules(
        window=timedelta(seconds=said.time_window_secs), threshold=said.threshold,
        merge_threshold=said.merge_threshold, min_size=said.min_incidents, max_size=said.max_group_size,
        strategies=strategies,
    )  # fmt: skip
    return Correlating(GroupStore(connections), CatalogueStore(connections), rules, metrics.correlated)


def page_wait_secs(said: Enrichment) -> float:
    """How long a first page waits for what is looked up."""
    return said.page_wait_secs if said.async_enrichment else said.timeout_secs


def flapping(settings: Settings) -> Flapping | None:
    said = settings.flapping
    return Flapping.model_validate(said.model_dump(exclude={"enabled"})) if said.enabled else None


def own_words(documents: DocumentStore) -> Words:
    """Says messages in the words of the team's templates."""

    async def say(message: Message, channel: ChannelName, named: str | None) -> tuple[Message, str | None]:
        found, unreadable = [], None
        for document in await documents.all("notification-templates"):
            try:
                found.append(Template.model_validate(document.body))
            except ValidationError:
                unreadable = f"the template {document.id} is not readable"
        said, problem = rendered(found, message, channel, named)
        return said, problem or unreadable

    return say


@asynccontextmanager
async def playing(
    settings: Settings,
    connections: Pool,
    temporal: Client,
    channels: Mapping[ChannelName, Channel],
    breaking: Breaking | None = None,
    four: Four = NOBODY,
) -> AsyncIterator[Mapping[str, Action]]:
    """The actions of playbooks, as a worker carries them out."""
    incidents = Incidents(
        IncidentStore(connections, targets(settings)), DeliveryStore(connections), temporal, lived(settings)
    )
    command = books.commanding(incidents)
    async with books.actions(
        settings, reachable(settings), channels, command, partial(link, settings), breaking, four
    ) as made:
        yield made
