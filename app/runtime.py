"""The composition root: everything that is constructed is constructed here, from settings."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from cryptography.fernet import Fernet, MultiFernet
from jwt import PyJWK
from phonenumbers import SUPPORTED_REGIONS
from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import GrpcCompression, TLSConfig

from activities.classifying import Champion
from activities.detecting import Detecting, Reporting
from activities.triage import Life
from activities.watching import Watching
from app import books, breaking, siblings
from app.actions.base import Action
from app.admission import Issuer
from app.channels import CHANNELS
from app.channels.base import Channel
from app.channels.slack import Slack
from app.child import CannotStart
from app.config import Settings, Temporal
from app.domain.sla import Targets
from app.domain.vocabulary import ChannelName
from app.intake import GENERIC, NEW_KEY, Tool
from app.integrations.four import NOBODY, Four
from app.net.breakers import Breakers
from app.net.http import Http, Network, allowed_networks, check_url
from app.net.jwks import KeySet
from app.service.alerts import Alerts
from app.service.breakers import Breaking
from app.service.catalogue import Catalogues
from app.service.changes import Changes
from app.service.chatops import Chatops
from app.service.clicks import Clicks
from app.service.correlations import Correlations
from app.service.dispatch import Dispatcher
from app.service.documents import Documents
from app.service.events import Events
from app.service.evidence import Evidence
from app.service.health import Health
from app.service.heartbeats import Heartbeats
from app.service.incidents import Incidents
from app.service.intake import Door, Intake
from app.service.integrations import Integrations
from app.service.keys import Keys
from app.service.limits import Limits
from app.service.lint import Lint
from app.service.live import Live
from app.service.mappings import Mappings
from app.service.ml import Learning
from app.service.notifications import Notifications
from app.service.oncall import OnCall
from app.service.playbooks import Playbooks, checked
from app.service.received import Received
from app.service.reports import Reports
from app.service.routing import Routes
from app.service.simulate import Simulations
from app.service.suppression import Suppressions
from app.service.telemetry import DETECTOR, Telemetry
from app.service.templates import Templates
from app.service.together import Together
from app.service.tokens import Tokens, Trusted, shared
from app.sources import SOURCES, mapped
from app.sources.base import Source
from app.sources.redaction import Redaction
from app.store.alerts import AlertStore
from app.store.breakers import BreakerStore
from app.store.changes import ChangeStore
from app.store.correlations import CorrelationStore
from app.store.database import Pool, pool
from app.store.deliveries import DeliveryStore
from app.store.documents import DocumentStore
from app.store.episodes import EpisodeStore
from app.store.events import EventStore
from app.store.evidence import EvidenceStore
from app.store.facts import FactStore
from app.store.feed import FeedStore
from app.store.heartbeats import HeartbeatStore
from app.store.holding import HoldingStore
from app.store.incidents import IncidentStore
from app.store.keys import KeyStore
from app.store.models import ModelStore
from app.store.outbox import Outbox
from app.store.received import ReceivedStore
from app.store.regrouping import RegroupStore
from app.store.reports import ReportStore
from app.store.routing import RoutingStore
from app.store.runs import RunStore
from app.store.telemetry import TelemetryStore
from app.store.together import TogetherStore
from app.store.turns import TurnStore
from app.telemetry import metrics

CONNECTS_WITHIN_SECS = 5.0
NO_ACTIONS: Mapping[str, Action] = {}
PAGES_AT_LATEST = timedelta(seconds=30)
"""A page may probe a breaker so long after it has opened, whatever its recovery says (chosen)."""


@dataclass(frozen=True)
class Gateway:
    settings: Settings
    alerts: Alerts
    intake: Intake
    mappings: Mappings
    heartbeats: Heartbeats
    received: Received
    incidents: Incidents
    events: Events
    reports: Reports
    playbooks: Playbooks
    documents: Documents
    oncall: OnCall
    keys: Keys
    tokens: Tokens
    limits: Limits
    health: Health
    dispatcher: Dispatcher
    simulations: Simulations
    notifications: Notifications
    clicks: Clicks
    templates: Templates
    chatops: Chatops
    lint: Lint
    routes: Routes
    learning: Learning
    suppressions: Suppressions
    catalogue: Catalogues
    changes: Changes
    correlations: Correlations
    live: Live
    together: Together
    breaking: Breaking
    integrations: Integrations


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """The services with a pool, a Temporal client and a running dispatcher. Neither server need be there yet."""
    temporal = await temporal_client(settings.temporal, lazy=True)
    breakers = circuit_breakers(settings)
    async with (
        pool(database_url(settings), settings.storage.pool_size) as connections,
        channels(settings, breakers) as ways,
        tokens(settings, breakers) as trusted,
        limits(settings) as limited,
        siblings.opened(settings.integrations, reachable(settings), connections, breakers, redacting(settings)) as four,
        books.actions(
            settings, reachable(settings), ways, books.nobody, partial(link, settings),
            sharing(breakers, connections), four,
        ) as doing,
    ):  # fmt: skip
        made = services(settings, connections, temporal, ways, trusted, limited, doing, breakers, four)
        running = (
            made.dispatcher.run(),
            made.keys.keep_fresh(),
            trusted.keep_fresh(),
            limited.keep_sharing(),
            made.live.run(),
            made.playbooks.run(),
            made.intake.evidence.keep_for_a_while(),
            made.breaking.run(),
        )
        background = [asyncio.create_task(each) for each in running]
        try:
            yield made
        finally:
            for task in background:
                task.cancel()
            for task in background:
                with suppress(asyncio.CancelledError):
                    await task


@asynccontextmanager
async def at_rest(settings: Settings) -> AsyncIterator[Gateway]:
    """The services with a pool, but nothing running: for commands that do one thing."""
    temporal = await temporal_client(settings.temporal, lazy=True)
    async with pool(database_url(settings), 2) as connections, channels(settings) as ways:
        yield services(settings, connections, temporal, ways)


def services(
    settings: Settings,
    connections: Pool,
    temporal: Client,
    channels: Mapping[ChannelName, Channel],
    tokens: Tokens | None = None,
    limits: Limits | None = None,
    actions: Mapping[str, Action] = NO_ACTIONS,
    breakers: Breakers | None = None,
    four: Four = NOBODY,
) -> Gateway:
    """The services over open connections; nothing runs yet. `channels` are those that are switched on."""
    life = lived(settings)
    dispatcher = Dispatcher(Outbox(connections), temporal, life)
    shown = IncidentStore(connections, targets(settings))
    incidents = Incidents(shown, DeliveryStore(connections), temporal, life)
    simulations = rehearsing(settings, connections, channels)
    documents = documented(settings, connections, actions)
    playbooks = Playbooks(RunStore(connections, shown), documents, temporal, actions, settings.playbooks.enabled)
    alerts = accepting(settings, connections, dispatcher.fresh.set)
    changes = Changes(ChangeStore(connections), alerts.redaction)
    mappings = Mappings(DocumentStore(connections), mapped_doors(settings))
    watch = watchdog(settings, connections, alerts)
    breaking = sharing(breakers or circuit_breakers(settings), connections)
    return Gateway(
        settings=settings,
        alerts=alerts,
        intake=Intake(
            doors(settings), alerts, changes, kept(settings, connections), mappings.door, Telemetry(watch.detecting)
        ),
        mappings=mappings,
        heartbeats=Heartbeats(watch),
        received=Received(ReceivedStore(connections)),
        incidents=incidents,
        events=Events(EventStore(connections)),
        reports=Reports(ReportStore(connections, targets(settings))),
        documents=documents,
        playbooks=playbooks,
        learning=learning(settings, connections, temporal),
        suppressions=Suppressions(documents, shown, HoldingStore(connections)),
        catalogue=Catalogues(documents),
        changes=changes,
        correlations=grouped(settings, connections, incidents),
        oncall=OnCall(DocumentStore(connections)),
        keys=Keys(KeyStore(connections), bool(settings.auth.issuers)),
        tokens=tokens or Tokens(),
        limits=limits or Limits.of(settings.rate_limits),
        live=Live(FeedStore(connections, targets(settings)), settings.graphql.max_waiting),
        together=Together(TogetherStore(connections, targets(settings)), DocumentStore(connections)),
        health=Health(connections, temporal),
        integrations=Integrations(four, settings.integrations, shown),
        dispatcher=dispatcher,
        notifications=Notifications(DeliveryStore(connections), temporal),
        lint=linting(settings, connections, channels, breaking),
        chatops=chatting(connections, incidents, playbooks, channels),
        templates=Templates(DocumentStore(connections), shown, partial(link, settings)),
        clicks=clicked(settings, connections, incidents, playbooks),
        simulations=simulations, routes=routes(settings, connections, simulations),
        breaking=breaking,
    )  # fmt: skip


def accepting(settings: Settings, connections: Pool, fresh: Callable[[], None] = lambda: None) -> Alerts:
    """Takes alerts. Without `fresh` a dispatcher finds by itself, within half a second, what is to be heard."""
    by_content = settings.deduplication.fingerprint_enabled
    return Alerts(stored(settings, connections), fresh, by_content, redacting(settings))


def chatting(
    connections: Pool, incidents: Incidents, playbooks: Playbooks, channels: Mapping[ChannelName, Channel]
) -> Chatops:
    slack = channels.get(ChannelName.SLACK)
    return Chatops(DocumentStore(connections), incidents, playbooks, slack if isinstance(slack, Slack) else None)


def clicked(settings: Settings, connections: Pool, incidents: Incidents, playbooks: Playbooks) -> Clicks:
    good_for_secs = settings.notifications.one_click_secs
    return Clicks(FactStore(connections), DocumentStore(connections), incidents, playbooks, good_for_secs)


def doors(settings: Settings) -> Mapping[str, Door]:
    """Every source under its own name, and the tools that the settings name. Raises: CannotStart for what can't be."""
    known = {name: Door(name, source) for name, source in SOURCES.items()}
    for name, tool in settings.intake.tools.items():
        kind = tool.source or name
        if kind == GENERIC and name not in SOURCES:
            continue
        if kind not in SOURCES:
            raise CannotStart(f"intake.tools.{name}: there is no source {kind!r}; there are {', '.join(SOURCES)}.")
        if tool.secrets and SOURCES[kind].verify is None:
            raise CannotStart(f"intake.tools.{name}: {kind} signs nothing; let it show an API key instead of secrets.")
        known[name] = door(name, tool, SOURCES[kind])
        if why := known[name].unusable:
            raise CannotStart(f"intake.tools.{name}: {why}")
    return known


def redacting(settings: Settings) -> Redaction:
    """What is taken out of all that comes in. Raises: CannotStart for a region that phone numbers don't know."""
    region = settings.intake.phone_region
    if region is not None and region not in SUPPORTED_REGIONS:
        raise CannotStart(f"intake.phone_region: no phone numbers are known of {region!r}; give two letters, like DE.")
    return Redaction(frozenset(settings.intake.redact), region)


def kept(settings: Settings, connections: Pool) -> Evidence:
    """What tools send, as they sent it. Raises: CannotStart where it is to be kept and there is no key."""
    said = settings.intake.evidence
    if said.enabled and not said.keys:
        raise CannotStart(f"intake.evidence.enabled needs a key in intake.evidence.keys; make one: {NEW_KEY}")
    box = MultiFernet([Fernet(key.get_secret_value()) for key in said.keys]) if said.keys else None
    retention = timedelta(days=said.retention_days)
    return Evidence(EvidenceStore(connections), box, said.enabled, said.max_bytes, retention)


def mapped_doors(settings: Settings) -> Mapping[str, Callable[[Source], Door]]:
    """The tools whose format a saved mapping knows."""
    tools = settings.intake.tools.items()
    return {name: partial(door, name, tool) for name, tool in tools if tool.source == GENERIC}


def door(name: str, tool: Tool, source: Source) -> Door:
    secrets = [secret.get_secret_value() for secret in tool.secrets]
    return Door(name, source, secrets, tool.service, tool.environment, tool.labels)


def routes(settings: Settings, connections: Pool, simulations: Simulations) -> Routes:
    policy = settings.escalation.default_policy
    return Routes(DocumentStore(connections), RoutingStore(connections), simulations, policy)


def stored(settings: Settings, connections: Pool) -> AlertStore:
    said = settings.deduplication
    quiet = {name: timedelta(seconds=secs) for name, secs in said.quiet_resolves_secs.items()}
    return AlertStore(connections, timedelta(seconds=said.window_secs), frozenset(said.keep_open_sources), quiet)


def watchdog(settings: Settings, connections: Pool, alerts: Alerts) -> Watching:
    """What looks at telemetry and heartbeats; what it finds goes the way of every alert."""
    said, store = settings.detectors, TelemetryStore(connections, settings.detectors.max_series)
    reporting = Reporting(EpisodeStore(connections), partial(alerts.ingest, DETECTOR))
    detecting = Detecting(store, reporting, said.rules, timedelta(seconds=said.quiet_secs), metrics.detected)
    documents, heartbeats = DocumentStore(connections), HeartbeatStore(connections)
    return Watching(documents, heartbeats, detecting, alerts.store, metrics.watched)


def linting(settings: Settings, connections: Pool, channels: Mapping[ChannelName, Channel], breaking: Breaking) -> Lint:
    return Lint(
        DocumentStore(connections), frozenset(channels), frozenset(settings.notifications.apprise.services),
        settings.escalation.default_policy, partial(answers, settings), breaking,
    )  # fmt: skip


def rehearsing(settings: Settings, connections: Pool, channels: Mapping[ChannelName, Channel]) -> Simulations:
    policy = settings.escalation.default_policy
    return Simulations(DocumentStore(connections), TurnStore(connections), frozenset(channels), policy)


def grouped(settings: Settings, connections: Pool, incidents: Incidents) -> Correlations:
    threshold = settings.correlation.threshold
    return Correlations(CorrelationStore(connections), RegroupStore(connections), incidents, threshold)


def documented(settings: Settings, connections: Pool, actions: Mapping[str, Action]) -> Documents:
    return Documents(
        DocumentStore(connections),
        partial(check_url, networks=reachable(settings)),
        settings.escalation.default_policy,
        round(settings.escalation.default_timeout_secs),
        HoldingStore(connections),
        partial(checked, actions=actions),
        partial(mapped.checked, taken=frozenset(doors(settings))),
    )


def lived(settings: Settings) -> Life:
    """What every incident's workflow is told at its start."""
    return Life(
        incident_id="",
        reopens_for_secs=settings.deduplication.window_secs,
        give_up_after_secs=settings.notifications.give_up_after_secs,
    )


def learning(settings: Settings, connections: Pool, temporal: Client) -> Learning:
    said, models = settings.ml, ModelStore(connections)
    batch = said.training_batch_size if said.auto_train else None
    return Learning(models, Champion(models), temporal, said.enabled, said.confidence_threshold, batch)


def targets(settings: Settings) -> Targets:
    return Targets.model_validate(settings.sla.model_dump())


def circuit_breakers(settings: Settings) -> Breakers:
    """This process's, each as the settings have it. Raises: CannotStart when their own file is wrong."""
    said = [settings.circuit_breakers]
    if (path := settings.breaking.path) is not None:
        try:
            said.insert(0, breaking.in_file(path))
        except (OSError, ValueError) as wrong:
            raise CannotStart(f"breaking.path = {str(path)!r}: {wrong}") from wrong
    return Breakers(breaking.configs(*said), enabled=settings.breaking.enabled)


def sharing(breakers: Breakers, connections: Pool) -> Breaking:
    """This process's circuit breakers, as far as others know of them too."""
    return Breaking(breakers, BreakerStore(connections))


@asynccontextmanager
async def channels(
    settings: Settings, breakers: Breakers | None = None
) -> AsyncIterator[Mapping[ChannelName, Channel]]:
    """The ways to reach people that the settings allow, ready to send. Raises: CannotStart when one is set up wrong."""
    said, deadline = settings.notifications, settings.notifications.webhook.timeout_secs
    async with Http(reachable(settings), deadline_secs=deadline, breakers=breakers, at_latest=PAGES_AT_LATEST) as http:
        ways = {name: configured(said, http) for name, configured in CHANNELS.items() if said.enabled(name)}
        yield {name: way for name, way in ways.items() if way is not None}


@asynccontextmanager
async def tokens(settings: Settings, breakers: Breakers | None = None) -> AsyncIterator[Tokens]:
    """The issuers that are trusted; those that publish their keys have yet to be asked for them."""
    async with Http(reachable(settings), deadline_secs=CONNECTS_WITHIN_SECS, breakers=breakers) as http:
        yield Tokens(Trusted(said, keys(said, http)) for said in settings.auth.issuers)


def keys(said: Issuer, http: Http) -> PyJWK | KeySet:
    return (
        shared(said.secret)
        if said.secret
        else KeySet(http.by_host("issuer"), said.issuer, said.jwks_url, said.accepted)
    )


@asynccontextmanager
async def limits(settings: Settings) -> AsyncIterator[Limits]:
    """Counts requests, together with other gateways where there is a Redis. It need not be there yet."""
    if settings.redis.url is None:
        yield Limits.of(settings.rate_limits)
        return
    async with Redis.from_url(settings.redis.url.get_secret_value()) as redis:
        yield Limits.of(settings.rate_limits, redis)


async def answers(settings: Settings, urls: Collection[str]) -> dict[str, str | None]:
    """Why nobody can be connected to at each of these addresses, or None. All are tried at once."""
    async with Http(reachable(settings), deadline_secs=CONNECTS_WITHIN_SECS) as http:
        found = await asyncio.gather(*(http.answers(url) for url in urls))
    return dict(zip(urls, found, strict=True))


def reachable(settings: Settings) -> tuple[Network, ...]:
    """The private networks that messages may be sent to."""
    return allowed_networks(settings.net.allow_networks, loopback=settings.server.loopback)


def link(settings: Settings, incident_id: str) -> str:
    """Where an incident can be looked at."""
    return f"{public(settings)}/api/v1/incidents/{incident_id}"


def public(settings: Settings) -> str:
    """What links in messages begin with."""
    server = settings.server
    return server.public_url or f"http://{server.host}:{server.http_port}"


def database_url(settings: Settings) -> str:
    """Raises: ValueError where the embedded database's address was not passed on."""
    url = settings.storage.connection_string
    if url is None or settings.storage.in_memory:
        raise ValueError("no database: set DATABASE_URL, or start everything with `llm-im up`")
    return url.get_secret_value()


async def temporal_client(temporal: Temporal, *, lazy: bool) -> Client:
    """A client of the server in `temporal`; the embedded one's address must have been filled in.

    `lazy` connects at first use. Raises: RuntimeError when not lazy and it cannot be reached.
    """
    if temporal.address is None:
        raise ValueError("no Temporal: set TEMPORAL_ADDRESS, or start everything with `llm-im up`")
    local = temporal.address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
    return await Client.connect(
        temporal.address,
        namespace=temporal.namespace,
        api_key=temporal.api_key.get_secret_value() if temporal.api_key else None,
        tls=_tls(temporal),
        data_converter=pydantic_data_converter,
        lazy=lazy,
        grpc_compression=GrpcCompression.NONE if local else GrpcCompression.GZIP,
    )


def _tls(temporal: Temporal) -> TLSConfig | bool:
    if not temporal.uses_tls:
        return False
    ca, cert, key = (
        path.read_bytes() if path else None
        for path in (temporal.tls_server_ca_cert_path, temporal.tls_client_cert_path, temporal.tls_client_key_path)
    )
    return TLSConfig(server_root_ca_cert=ca, domain=temporal.tls_server_name, client_cert=cert, client_private_key=key)
