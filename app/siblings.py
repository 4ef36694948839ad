"""Sentinel, Shield, Edge-Agent and Governance, constructed: the part of the composition root that is about them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import grpc

from app.domain.compliance import Framework
from app.integrating import Integration, Integrations
from app.integrations.breaking import Breakers, NeverOpen
from app.integrations.edge_agent import EdgeAgent
from app.integrations.four import Four
from app.integrations.governance import Governance
from app.integrations.identity import Identity
from app.integrations.pb.integrations_pb2_grpc import EdgeAgentServiceStub, ShieldServiceStub
from app.integrations.rpc import Rpc
from app.integrations.sentinel import Sentinel
from app.integrations.shield import Shield, signed
from app.integrations.transport import Line, Rest, execution
from app.net.http import Http, Network
from app.redaction import Outgoing, Redactor
from app.store.database import Pool
from app.store.edge import EdgeQueue
from app.telemetry.integrations import requested

S = TypeVar("S")


@dataclass
class Made:
    """What was made so far, and what closes it."""

    networks: Sequence[Network]
    breakers: Breakers
    stack: AsyncExitStack
    lines: dict[str, Line] = field(default_factory=dict)

    async def rest(self, name: str, said: Integration, more: Callable[[], Mapping[str, str]] = dict) -> Rest:
        http = await self._http(said)
        return Rest(self._line(name, said), trusting(http, said), Identity.of(said, http), more)

    async def two(
        self,
        name: str,
        said: Integration,
        stub: Callable[[grpc.aio.Channel], S],
        more: Callable[[], Mapping[str, str]] = dict,
    ) -> tuple[Rest | None, Rpc[S] | None]:
        """One of the two: HTTP as it is published, or gRPC as the first version spoke."""
        if said.dialect == "real":
            return await self.rest(name, said, more), None
        http = await self._http(said)
        rpc = Rpc(self._line(name, said), http, Identity.of(said, http), stub)
        self.stack.push_async_callback(rpc.close)
        return None, rpc

    async def _http(self, said: Integration) -> Http:
        return await self.stack.enter_async_context(Http(self.networks, deadline_secs=said.timeout_secs))

    def _line(self, name: str, said: Integration) -> Line:
        return self.lines.setdefault(name, Line(name, said, self.breakers, requested))


def trusting(http: Http, said: Integration) -> Http:
    """The way to the integration itself: with its CA, and our certificate."""
    shown = (said.tls_cert, said.tls_key) if said.tls_cert and said.tls_key else None
    return http.trusting(said.tls_ca, shown) if said.tls_ca or shown else http


@asynccontextmanager
async def opened(
    said: Integrations,
    networks: Sequence[Network],
    connections: Pool,
    breakers: Breakers | None = None,
    redactor: Redactor | None = None,
) -> AsyncIterator[Four]:
    """Those that are set up; none of them need be there yet. They are told what `redactor` leaves of a text."""
    usual = redactor or Redactor()
    clean = Outgoing(usual.detectors, usual.region)
    async with AsyncExitStack() as stack:
        made = Made(networks, breakers or NeverOpen(), stack)
        sentinel, shield = said.llm_sentinel, said.llm_shield
        edge, governance = said.llm_edge_agent, said.llm_governance_core
        queue, frameworks = EdgeQueue(connections), tuple(map(Framework, governance.frameworks)) or tuple(Framework)
        yield Four(
            sentinel=Sentinel(await made.rest("sentinel", sentinel, execution), sentinel.dialect == "seed", clean)
            if sentinel.asked else None,
            shield=Shield(*await made.two("shield", shield, ShieldServiceStub, signed(shield)), clean)
            if shield.asked else None,
            edge_agent=EdgeAgent(
                edge.agent_id, queue, edge.queue_max, *await made.two("edge-agent", edge, EdgeAgentServiceStub), clean
            ) if edge.asked else None,
            governance=Governance(
                frameworks, await made.rest("governance", governance) if governance.asked else None,
                governance.dialect == "seed", clean,
            ),
            governance_enriches=governance.enabled and governance.enrich,
            lines=made.lines,
            queue=queue,
        )  # fmt: skip
