"""Sentinel, Shield, Edge-Agent and Governance, as far as they are set up."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from app.domain.compliance import Framework
from app.integrations.edge_agent import EdgeAgent, Queue
from app.integrations.governance import Governance
from app.integrations.sentinel import Sentinel
from app.integrations.shield import Shield
from app.integrations.transport import Line

OUR_RULES = Governance(tuple(Framework))


@dataclass(frozen=True)
class Four:
    """None is not set up. Governance always is there, with our own rules. `lines` are of those that are asked."""

    sentinel: Sentinel | None = None
    shield: Shield | None = None
    edge_agent: EdgeAgent | None = None
    governance: Governance = OUR_RULES
    governance_enriches: bool = False
    lines: Mapping[str, Line] = field(default_factory=dict)
    queue: Queue | None = None

    def probes(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """How each of those that are asked is asked whether it is well."""
        made = {"sentinel": self.sentinel, "shield": self.shield, "edge-agent": self.edge_agent}
        found = {name: one.health for name, one in made.items() if one is not None}
        return found | ({"governance": self.governance.health} if self.governance.rest is not None else {})


NOBODY = Four()
