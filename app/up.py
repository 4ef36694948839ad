"""`llm-im up`: the whole service on one machine, as processes under one supervisor."""

import contextlib
import os
import sys
import tempfile
from collections import ChainMap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from pydantic import SecretStr

from app.child import CannotStart, Child
from app.config import Settings
from app.listeners import bound, told
from app.mailbox import mailbox
from app.stack import BEHIND, Description, DevServer, answering, free_port, listening, postgres_child, temporal_child
from app.store.embedded import Cluster
from app.supervisor import Hold, Port, Supervisor, claimed
from app.telemetry import metrics

LOOPBACK = "127.0.0.1"


class Plan:
    """What has to run for `settings`, where, and how the parts find each other."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings = settings
        self.home = home
        self.http_port = settings.server.http_port or free_port()
        self.cluster = _cluster(settings, home) if settings.embedded_database else None
        self.server = _dev_server(settings, home) if settings.embedded_temporal else None
        self.listening: dict[str, str] = {}
        self.sockets: list[int] = []
        self.mail_port = settings.stack.mail_port if settings.notifications.smtp.host is None else None

    @property
    def url(self) -> str:
        host = self.settings.server.host
        return f"http://{host if host not in ('0.0.0.0', '::') else LOOPBACK}:{self.http_port}"

    def ports(self) -> Iterator[Port]:
        server, stack = self.settings.server, "LLM_IM__STACK"
        yield Port(self.http_port, "the API", "LLM_IM__SERVER__HTTP_PORT", server.host)
        if server.api_port not in (0, self.http_port):
            yield Port(server.api_port, "the API's second port", "API_PORT (0 = none)", server.host)
        if server.grpc_port:
            yield Port(server.grpc_port, "gRPC", "GRPC_PORT (0 = none)", server.grpc_host)
        if server.metrics_port:
            yield Port(server.metrics_port, "metrics", "LLM_IM__SERVER__METRICS_PORT", server.host)
        if server.worker_metrics_port:
            yield Port(
                server.worker_metrics_port, "the worker's metrics", "LLM_IM__SERVER__WORKER_METRICS_PORT", server.host
            )
        if self.cluster:
            yield Port(self.cluster.port, "PostgreSQL", f"{stack}__POSTGRES_PORT")
        if self.server:
            temporal = self.server.description.server
            yield Port(temporal.port, "Temporal", f"{stack}__TEMPORAL_PORT", temporal.ip)
            if temporal.ui_port:
                yield Port(temporal.ui_port, "Temporal's Web UI", f"{stack}__TEMPORAL_UI_PORT", temporal.ip)
            if temporal.metrics_port:
                yield Port(temporal.metrics_port, "Temporal's metrics", f"{stack}__TEMPORAL_METRICS_PORT", temporal.ip)
        if self.mail_port:
            yield Port(self.mail_port, "the local mailbox", f"{stack}__MAIL_PORT")

    def environment(self) -> dict[str, str]:
        """For the processes of this program. LLM_IM__ names, because they outrank every other."""
        found = {"PROMETHEUS_MULTIPROC_DIR": str(self.home / "metrics")}
        found["LLM_IM__SERVER__HTTP_PORT"] = str(self.http_port)
        if self.cluster:
            found |= {"LLM_IM__STORAGE__TYPE": "postgresql", "LLM_IM__STORAGE__CONNECTION_STRING": self.cluster.url}
        if self.server:
            found["LLM_IM__TEMPORAL__ADDRESS"] = self.server.address
            found["LLM_IM__TEMPORAL__TLS"] = "false"
        if self.mail_port:
            mail = {"HOST": LOOPBACK, "PORT": str(self.mail_port), "TLS": "plain"}
            found |= {f"LLM_IM__NOTIFICATIONS__SMTP__{name}": value for name, value in mail.items()}
        return {**os.environ, **found}

    @contextlib.asynccontextmanager
    async def listens(self) -> AsyncIterator[None]:
        """The API's ports are held here, not by the gateway: while it is restarted, whoever comes waits a moment.

        Raises: CannotStart.
        """
        server = self.settings.server
        with contextlib.ExitStack() as held:
            ports = {self.http_port: "LLM_IM__SERVER__HTTP_PORT"} | (
                {server.api_port: "API_PORT"} if server.api_port else {}
            )
            sockets = {port: held.enter_context(bound(server.host, port, name)) for port, name in ports.items()}
            self.sockets += [one.fileno() for one in sockets.values()]
            self.listening |= told(sockets)
            yield

    def stages(self) -> list[list[Child]]:
        servers = []
        if self.cluster:
            servers.append(postgres_child(self.cluster))
        if self.server:
            servers.append(temporal_child(self.server, self.home / "temporal.log"))
        server = self.settings.server
        worker_port = server.worker_metrics_port

        async def gateway_ready() -> bool:
            return await answering(_reached(server.host), self.http_port, "/health")

        async def worker_ready() -> bool:
            return not worker_port or await listening(_reached(server.host), worker_port)

        migrate = self._program("migrate", once=True)
        worker = self._program("worker", ready=worker_ready, grace=20.0, niceness=BEHIND)
        gateway = self._program("serve", "gateway", ready=gateway_ready, sockets=self.sockets)
        return [servers, [migrate], [worker, gateway]]

    def _program(self, command: str, name: str | None = None, **how: object) -> Child:
        name = name or command
        return Child(
            name, [sys.executable, "-m", "app.cli", command], environment=ChainMap(self.listening, self.environment()),
            log=None if how.get("once") else self.home / f"{name}.log", **how,  # type: ignore[arg-type]
        )  # fmt: skip

    def welcome(self) -> Iterator[str]:
        yield f"API          {self.url}/api/v1   (docs: {self.url}/docs)"
        if self.settings.server.grpc_port:
            yield f"gRPC         {_reached(self.settings.server.grpc_host)}:{self.settings.server.grpc_port}"
        if self.server and self.server.description.server.ui_port:
            yield f"Temporal UI  http://{self.server.description.server.ip}:{self.server.description.server.ui_port}"
        if self.settings.server.metrics_port:
            yield f"Metrics      http://{_reached(self.settings.server.host)}:{self.settings.server.metrics_port}/metrics"
        if self.mail_port:
            yield f"E-mail       {self.home / 'mail'} (set LLM_IM__NOTIFICATIONS__SMTP__HOST to send it for real)"
        yield f"Logs         {self.home}/*.log"
        if self.settings.server.loopback:
            yield "No key is asked for on this machine until the first `llm-im key create`; others are not answered."
        yield "Ctrl-C stops everything."


async def up(settings: Settings, say: Callable[[str], None]) -> int:
    """Runs everything in the foreground until told to stop; the exit code."""
    with _home(settings) as home:
        plan = Plan(settings, home)
        held: list[Hold] = [claimed(home, list(plan.ports())), plan.listens(), _metrics(home / "metrics")]
        if plan.mail_port:
            held.append(mailbox(home / "mail", plan.mail_port, say))
        return await Supervisor(say).run(plan.stages(), list(plan.welcome()), held)


@contextlib.asynccontextmanager
async def _metrics(folder: Path) -> AsyncIterator[None]:
    metrics.prepare(folder)
    yield


def located(settings: Settings) -> Settings:
    """The settings, with the embedded servers' addresses where none is named: they are those of a running `up`.

    Raises: CannotStart for `memory://`, which nobody can find from outside.
    """
    home = settings.stack.directory.absolute()
    if settings.storage.in_memory:
        raise CannotStart("memory:// exists inside `llm-im up` only; set DATABASE_URL to a PostgreSQL server.")
    found: dict[str, object] = {}
    if settings.embedded_database:
        url = SecretStr(_cluster(settings, home).url)
        found["storage"] = settings.storage.model_copy(update={"connection_string": url})
    if settings.embedded_temporal:
        address = _dev_server(settings, home).address
        found["temporal"] = settings.temporal.model_copy(update={"address": address})
    return settings.model_copy(update=found)


@contextlib.contextmanager
def _home(settings: Settings) -> Iterator[Path]:
    if not settings.storage.in_memory:
        yield settings.stack.directory.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="llm-im-") as name:
        Path(name).chmod(0o711)  # lets the account PostgreSQL runs as reach its data
        yield Path(name)


def _cluster(settings: Settings, home: Path) -> Cluster:
    return Cluster(home, settings.stack.postgres_port, durable=not settings.storage.in_memory)


def _dev_server(settings: Settings, home: Path) -> DevServer:
    stack = settings.stack
    description = Description.read().moved(stack.temporal_port, stack.temporal_ui_port, stack.temporal_metrics_port)
    named = description.model_copy(update={"namespace": settings.temporal.namespace})
    return DevServer(named, None if settings.storage.in_memory else home)


def _reached(host: str) -> str:
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
