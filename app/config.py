"""Every knob: typed, its unit in its name, its default, one sentence. `app/environment.py` fills them in."""

import base64
import binascii
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)

from app.admission import Auth, GraphQL, RateLimits, is_loopback
from app.automation import Playbooks
from app.breaking import Breaking, CircuitBreakers
from app.detectors import Detectors
from app.domain.sla import ACKNOWLEDGMENT_SECS, RESOLUTION_SECS
from app.domain.taxonomy import KINDS, OUTAGE
from app.domain.vocabulary import ChannelName, Role, Severity
from app.intake import Intake
from app.integrating import Integrations
from app.section import Count, Name, Seconds, Section, Share, WebUrl
from app.surroundings import Enrichment


def _database(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("postgresql://", "postgres://", "memory://")):
        raise ValueError("must begin with postgresql:// or be memory://")
    return url


def _redis(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return url


def _signing_secret(secret: SecretStr) -> SecretStr:
    prefix, _, encoded = secret.get_secret_value().partition("_")
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except binascii.Error:
        size = 0
    if prefix != "whsec" or not 24 <= size <= 64:
        raise ValueError("must be whsec_ followed by the base64 of 24 to 64 random bytes (Standard Webhooks)")
    return secret


def _level(name: object) -> object:
    return {"trace": "debug", "warn": "warning"}.get(name.lower(), name.lower()) if isinstance(name, str) else name


def _beside(usual: Mapping[Severity, float]) -> AfterValidator:
    return AfterValidator(lambda given: {**usual, **given})


def _origin(origin: str) -> str:
    scheme, _, host = origin.lower().partition("://")
    return f"{scheme}://{host.removesuffix(':443' if scheme == 'https' else ':80')}" if host else origin


Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
HostPort = Annotated[str, Field(pattern=r"^([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$")]
Origin = Annotated[str, Field(pattern=r"^(\*|(?i:https?)://[^\s/?#@*]+)$"), AfterValidator(_origin)]
"""As browsers send it: no path, no default port, lower case."""
Sender = Annotated[str, Field(pattern=r"^[^\r\n@]+@[^\r\n@]+$")]
Database = Annotated[SecretStr, AfterValidator(_database)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)]


class Storage(Section):
    type: Literal["postgresql", "memory"] = Field("postgresql", description="`memory` is the same as `memory://`.")
    connection_string: Database | None = Field(
        None, description="`postgresql://…`; none = the embedded PostgreSQL; `memory://` = embedded, gone at exit."
    )
    pool_size: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Connections per process, at most.")

    @property
    def in_memory(self) -> bool:
        """The embedded PostgreSQL in a temporary folder, fsync off, gone at exit."""
        return self.type == "memory" or (self._url or "").startswith("memory://")

    @property
    def _url(self) -> str | None:
        return self.connection_string.get_secret_value() if self.connection_string else None

    @model_validator(mode="after")
    def _one_place(self) -> "Storage":
        if self.type == "memory" and self._url is not None and not self._url.startswith("memory://"):
            raise ValueError("type is memory, but connection_string names a server: give one of the two")
        return self


class Temporal(Section):
    address: HostPort | None = Field(None, description="`host:port`; none = the embedded development server.")
    namespace: Name = Field("default", description="The namespace of the incident workflows.")
    api_key: SecretStr | None = Field(None, description="API key, as Temporal Cloud issues them; implies TLS.")
    tls: bool | None = Field(None, description="None = TLS when there is an API key, a CA or a client certificate.")
    tls_server_name: Name | None = Field(None, description="The name to expect in the server's certificate.")
    tls_server_ca_cert_path: FilePath | None = Field(None, description="PEM file of the CA to trust.")
    tls_client_cert_path: FilePath | None = Field(None, description="PEM file of the client certificate (mTLS).")
    tls_client_key_path: FilePath | None = Field(None, description="PEM file of the client certificate's key.")

    @property
    def uses_tls(self) -> bool:
        if self.tls is not None:
            return self.tls
        return any((self.api_key, self.tls_server_ca_cert_path, self.tls_client_cert_path))

    @model_validator(mode="after")
    def _certificate_and_key(self) -> "Temporal":
        if (self.tls_client_cert_path is None) != (self.tls_client_key_path is None):
            raise ValueError("tls_client_cert_path and tls_client_key_path need each other")
        return self


class Server(Section):
    host: Name = Field(
        "127.0.0.1", description="The address REST listens on; other than loopback needs an API key or a JWT issuer."
    )
    http_port: PortOrNone = Field(8080, description="REST, health and metrics; 0 = chosen by the operating system.")
    api_port: PortOrNone = Field(3000, description="A second port for the same; 0 = none.")
    grpc_host: Name = Field("127.0.0.1", description="The address gRPC listens on.")
    grpc_port: PortOrNone = Field(50051, description="gRPC; 0 = none.")
    grpc_tls_cert_path: FilePath | None = Field(None, description="PEM file of gRPC's certificate; none = no TLS.")
    grpc_tls_key_path: FilePath | None = Field(None, description="PEM file of that certificate's key.")
    grpc_tls_client_ca_path: FilePath | None = Field(
        None, description="PEM file of the CA that signs clients' certificates; each must show one (mTLS)."
    )
    grpc_client_roles: dict[Name, Role] = Field(
        {}, description="Name in a client's certificate → its role: it is let in without a key, by that name."
    )
    grpc_reflection: bool | None = Field(None, description="Tell clients the schema; none = on loopback only.")
    metrics_port: PortOrNone = Field(9090, description="Prometheus metrics of the gateway; 0 = none.")
    worker_metrics_port: PortOrNone = Field(9091, description="Prometheus metrics of the worker; 0 = none.")
    max_body_bytes: Count = Field(1_048_576, description="A larger request is refused (413) without being read.")
    max_batch_bytes: Count = Field(8_388_608, description="The same for batches of alerts.")
    request_timeout_secs: Seconds = Field(30, description="A request that takes longer is answered 503.")
    public_url: WebUrl | None = Field(None, description="Base of the links in messages; none = this host and port.")
    cors_origins: tuple[Origin, ...] = Field(
        (), description="Web pages that may use the API, like https://console.example.com; * = all; none = none."
    )

    @cached_property
    def exposed(self) -> str | None:
        """The address that other machines can reach; None where REST and gRPC are on loopback."""
        hosts = [self.host, *([self.grpc_host] if self.grpc_port else [])]
        return next((host for host in hosts if not is_loopback(host)), None)

    @cached_property
    def loopback(self) -> bool:
        """REST and gRPC can be reached from this machine only."""
        return self.exposed is None

    @property
    def reflects(self) -> bool:
        """Whoever reaches gRPC may ask it for its schema."""
        return is_loopback(self.grpc_host) if self.grpc_reflection is None else self.grpc_reflection

    @model_validator(mode="after")
    def _whole_tls(self) -> "Server":
        if (self.grpc_tls_cert_path is None) != (self.grpc_tls_key_path is None):
            raise ValueError("grpc_tls_cert_path and grpc_tls_key_path need each other")
        if self.grpc_tls_client_ca_path is not None and self.grpc_tls_cert_path is None:
            raise ValueError("grpc_tls_client_ca_path needs grpc_tls_cert_path and grpc_tls_key_path")
        if self.grpc_client_roles and self.grpc_tls_client_ca_path is None:
            raise ValueError("grpc_client_roles needs grpc_tls_client_ca_path")
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> "Server":
        # http_port and api_port may be equal: that is one port for both.
        ports = {
            name: getattr(self, name) for name in ("http_port", "grpc_port", "metrics_port", "worker_metrics_port")
        }
        ports["api_port" if self.api_port != self.http_port else "http_port"] = self.api_port
        taken: dict[int, str] = {}
        for name, port in ports.items():
            if port and (other := taken.setdefault(port, name)) != name:
                raise ValueError(f"{other} and {name} are both {port}: each needs its own")
        return self


class Stack(Section):
    """What the program starts itself when no server of yours is named."""

    directory: Path = Field(Path("var"), description="Where the embedded PostgreSQL and Temporal keep their data.")
    postgres_port: Port = Field(54329, description="The embedded PostgreSQL, on loopback.")
    temporal_port: Port | None = Field(None, description="The embedded Temporal; none = as in temporal-dev.yaml.")
    temporal_ui_port: Port | None = Field(None, description="Its Web UI; none = as in temporal-dev.yaml.")
    temporal_metrics_port: Port | None = Field(None, description="Its metrics; none = as in temporal-dev.yaml.")
    mail_port: Port = Field(1025, description="The local mailbox that takes e-mail when no SMTP host is set.")


def _quiet(after: dict[str, float]) -> dict[str, float]:
    for name in after:
        source, _, incident_class = name.partition("/")
        if not source:
            raise ValueError(f"{name}: names no source; write source or source/class")
        if incident_class and incident_class not in KINDS:
            raise ValueError(f"{name}: there is no class {incident_class!r}; write source or source/class")
    return after


class Deduplication(Section):
    window_secs: Seconds = Field(900, description="An alert this soon after the resolve reopens the incident.")
    fingerprint_enabled: bool = Field(True, description="Off: only a source's own key makes two alerts the same.")
    keep_open_sources: tuple[Name, ...] = Field((), description="Sources whose `resolved` resolves no incident.")
    quiet_resolves_secs: Annotated[dict[Name, Seconds], AfterValidator(_quiet)] = Field(
        {"litellm": 86_400, f"litellm/{OUTAGE}": 3_600, "opik": 86_400},
        description="Source or source/class → so long without an alert its incidents are over, as it never says so.",
    )


class Escalation(Section):
    enabled: bool = Field(True, description="Off: the first level is paged, once, and nobody after it.")
    default_timeout_secs: Seconds = Field(300, description="A level's patience where its policy states none.")
    default_policy: Name = Field("default", description="The policy of incidents that match no other.")


class Sla(Section):
    """A severity that isn't named keeps its default."""

    acknowledgment_secs: Annotated[dict[Severity, Seconds], _beside(ACKNOWLEDGMENT_SECS)] = Field(
        dict(ACKNOWLEDGMENT_SECS), description="Severity → the longest until somebody takes an incident."
    )
    resolution_secs: Annotated[dict[Severity, Seconds], _beside(RESOLUTION_SECS)] = Field(
        dict(RESOLUTION_SECS), description="Severity → the longest until an incident is over."
    )


class Flapping(Section):
    enabled: bool = Field(True, description="An incident that comes and goes pages less often. P0 always pages.")
    changes: Annotated[int, Field(ge=2, le=1000)] = Field(4, description="So many reopenings in the window hold it.")
    window_secs: Seconds = Field(3600, description="The window.")
    hold_secs: Seconds = Field(900, description="How long after its last reopening it pages nobody.")


class MachineLearning(Section):
    enabled: bool = Field(True, description="Predict severity from the team's own labels.")
    confidence_threshold: Share = Field(0.7, description="Below it the reporter's severity stands.")
    model_path: Path = Field(Path("./models"), description="No effect: models are kept in PostgreSQL.")
    auto_train: bool = Field(True, description="Train when enough new labels are there.")
    training_batch_size: Count = Field(100, description="New labels that start a training.")


class Correlation(Section):
    enabled: bool = Field(True, description="Group incidents that belong together.")
    time_window_secs: Seconds = Field(300, description="Nothing joins a group that nobody came to for this long.")
    threshold: Share = Field(0.4, description="How strongly incidents of a group must belong together, 0 to 1.")
    merge_threshold: Share = Field(0.75, description="How strongly an incident must belong to two groups to join them.")
    min_incidents: Count = Field(2, description="The smallest group.")
    max_group_size: Count = Field(50, description="Members that others join by; more only come along.")
    enable_source: bool = Field(True, description="Group by source.")
    enable_type: bool = Field(True, description="Group by incident type.")
    enable_similarity: bool = Field(True, description="Group by similar text.")
    enable_tags: bool = Field(True, description="Group by common tags.")
    enable_service: bool = Field(True, description="Group by service.")
    enable_topology: bool = Field(True, description="Group by the services' dependencies.")
    enable_provider: bool = Field(True, description="Group by LLM provider and model.")


class Channel(Section):
    type: Literal["email", "webhook", "slack", "pagerduty", "teams", "sms", "apprise"] = Field(
        description="The way to reach people."
    )
    enabled: bool = Field(True, description="Off: nothing is sent this way.")
    webhook_url: SecretStr | None = Field(None, description="Where a Slack or Teams channel posts to.")
    integration_key: SecretStr | None = Field(None, description="PagerDuty's Events v2 key.")


class Smtp(Section):
    host: Name | None = Field(None, description="The mail server; none = the embedded stack's local mailbox.")
    port: Port = Field(587, description="587 goes with starttls, 465 with implicit.")
    tls: Literal["implicit", "starttls", "plain"] = Field("starttls", description="How the connection is secured.")
    username: str | None = Field(None, description="None = no login.")
    password: SecretStr | None = Field(None, description="The login's password.")
    sender: Sender = Field("incidents@localhost", description="The From address.")
    timeout_secs: Annotated[float, Field(gt=0, le=15)] = Field(10, description="The longest one message may take.")

    @model_validator(mode="after")
    def _whole_login(self) -> "Smtp":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password need each other")
        return self


class Webhook(Section):
    secrets: tuple[SigningSecret, ...] = Field(
        (), max_length=2, description="`whsec_…`, the first one leads; two while rotating; none = unsigned."
    )
    timeout_secs: Annotated[float, Field(gt=0, le=15)] = Field(10, description="The longest one receiver may take.")


class Slack(Section):
    webhook_url: SecretStr | None = Field(None, description="An incoming webhook: where `slack` alone posts to.")
    bot_token: SecretStr | None = Field(None, description="`xoxb-…`: messages with buttons, edited as things change.")
    signing_secret: SecretStr | None = Field(None, description="By which what Slack's users click is known as theirs.")
    base_url: WebUrl = Field("https://slack.com/api", description="Slack's Web API.")


class PagerDuty(Section):
    integration_key: SecretStr | None = Field(None, description="The Events v2 key behind `pagerduty` alone.")
    base_url: WebUrl = Field("https://events.pagerduty.com", description="PagerDuty's Events API.")


class Teams(Section):
    webhook_url: SecretStr | None = Field(None, description="The workflow webhook behind `teams` alone.")


class Sms(Section):
    url: SecretStr | None = Field(None, description="An apprise URL with `{to}`, like twilio://SID:TOKEN@FROM/{to}.")


class Apprise(Section):
    services: dict[str, SecretStr] = Field(
        {}, description="Name → apprise URL, with `{to}` where each person's own address goes: tgram://TOKEN/{to}."
    )
    timeout_secs: Annotated[float, Field(gt=0, le=15)] = Field(10, description="The longest one message may take.")


class RateLimit(Section):
    requests_per_minute: Annotated[float, Field(gt=0, le=1_000_000)] = Field(description="In the long run.")
    burst: Annotated[int, Field(ge=1, le=100_000)] = Field(1, description="At once, after a quiet time.")


class Bundling(Section):
    enabled: bool = Field(True, description="In a storm a person gets one message about many incidents.")
    after: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="Messages in a window that still come alone.")
    window_secs: Annotated[float, Field(ge=1, le=3600)] = Field(60, description="The window. P0 always comes alone.")


class Notifications(Section):
    channels: tuple[Channel, ...] = Field((), description="Switches channels off; one that isn't listed is on.")
    smtp: Smtp = Field(Smtp(), description="E-mail.")
    webhook: Webhook = Field(Webhook(), description="Outbound webhooks.")
    slack: Slack = Field(Slack(), description="Slack.")
    pagerduty: PagerDuty = Field(PagerDuty(), description="PagerDuty.")
    teams: Teams = Field(Teams(), description="Microsoft Teams.")
    sms: Sms = Field(Sms(), description="Text messages.")
    apprise: Apprise = Field(Apprise(), description="Every other service, through apprise.")
    rate_limits: dict[ChannelName, RateLimit] = Field({}, description="Per channel; none = unlimited.")
    bundling: Bundling = Field(Bundling(), description="Storms.")
    one_click_secs: Annotated[float, Field(ge=0, le=31_622_400)] = Field(
        86_400, description="How long a mail's acknowledge link works; 0 = mails carry none."
    )
    give_up_after_secs: Seconds = Field(3600, description="A message that could not be delivered by then has failed.")

    @model_validator(mode="after")
    def _no_storm_outlasts_a_message(self) -> "Notifications":
        if self.bundling.enabled and self.give_up_after_secs <= self.bundling.window_secs:
            raise ValueError("give_up_after_secs must be more than bundling.window_secs, or held messages are given up")
        return self

    def enabled(self, channel: str) -> bool:
        return all(listed.enabled for listed in self.channels if listed.type == channel)

    def webhook_of(self, channel: Literal["slack", "teams"]) -> SecretStr | None:
        """Where the channel posts to when no address is given: its own section, else the list of channels."""
        own: SecretStr | None = getattr(self, channel).webhook_url
        return own or next((c.webhook_url for c in self.channels if c.type == channel and c.webhook_url), None)

    @property
    def integration_key(self) -> SecretStr | None:
        """PagerDuty's, from its own section, else from the list of channels."""
        listed = (c.integration_key for c in self.channels if c.type == "pagerduty" and c.integration_key)
        return self.pagerduty.integration_key or next(listed, None)


class Net(Section):
    allow_networks: tuple[IPvAnyNetwork, ...] | None = Field(
        None,
        description="Private address ranges that outbound requests may reach; "
        "none = loopback only, and only while the API itself is bound to loopback.",
    )


class Observability(Section):
    log_level: LogLevel = Field("info", description="The least severe level that is logged.")
    json_logs: bool = Field(True, description="One JSON object per line; off = plain text.")
    service_name: Name = Field("llm-incident-manager", description="The service's name in logs.")


class Redis(Section):
    url: RedisUrl | None = Field(
        None, description="`redis://…`, for workers to share what they looked up, and gateways their rate limits."
    )


class Settings(Section):
    """The whole configuration. Constructing one reads nothing from outside."""

    instance_id: Name = Field("standalone-001", description="This installation's name.")
    documents_directory: Path = Field(
        Path(__file__).resolve().parents[1] / "config",
        description="YAML files of users, teams and policies that an empty database begins with.",
    )
    storage: Storage = Field(Storage(), description="PostgreSQL.")
    temporal: Temporal = Field(Temporal(), description="The Temporal service that runs the incidents.")
    server: Server = Field(Server(), description="What listens where.")
    stack: Stack = Field(Stack(), description="The embedded servers.")
    deduplication: Deduplication = Field(Deduplication(), description="When two alerts are one incident.")
    escalation: Escalation = Field(Escalation(), description="Who is paged next, and when.")
    sla: Sla = Field(Sla(), description="Service levels: by when, per severity.")
    flapping: Flapping = Field(Flapping(), description="Incidents that come and go.")
    enrichment: Enrichment = Field(Enrichment(), description="What is looked up around an incident.")
    ml: MachineLearning = Field(MachineLearning(), description="Severities and classes, predicted.")
    correlation: Correlation = Field(Correlation(), description="Which incidents belong together.")
    notifications: Notifications = Field(Notifications(), description="How people are reached.")
    net: Net = Field(Net(), description="What outbound requests may reach.")
    intake: Intake = Field(Intake(), description="The tools that send by themselves.")
    detectors: Detectors = Field(Detectors(), description="What is an incident in telemetry.")
    auth: Auth = Field(Auth(), description="Who gets in beside API keys.")
    rate_limits: RateLimits = Field(RateLimits(), description="How much each client may ask for.")
    graphql: GraphQL = Field(GraphQL(), description="GraphQL and its WebSockets.")
    playbooks: Playbooks = Field(Playbooks(), description="What playbooks' actions may reach.")
    integrations: Integrations = Field(Integrations(), description="Sentinel, Shield, Edge-Agent and Governance.")
    observability: Observability = Field(Observability(), description="Logs and metrics.")
    redis: Redis = Field(Redis(), description="Optional.")
    breaking: Breaking = Field(Breaking(), description="Circuit breakers, all of them.")
    circuit_breakers: CircuitBreakers = Field({}, description="Circuit breakers, each: a list with names, or groups.")

    @property
    def embedded_database(self) -> bool:
        return self.storage.connection_string is None or self.storage.in_memory

    @property
    def embedded_temporal(self) -> bool:
        return self.temporal.address is None

    def unused(self) -> list[str]:
        """What was set but has no effect yet, as dotted keys."""
        return ["ml.model_path"] if "model_path" in self.ml.model_fields_set else []
