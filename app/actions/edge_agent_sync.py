"""Sends the edge agent what waits for it, and asks what became of the rest."""

from dataclasses import dataclass
from typing import Self

from app.actions.asked import asked as answered
from app.actions.base import Done, Plain, Situation, Tools
from app.domain.record import Record
from app.integrations.edge_agent import EdgeAgent


@dataclass(frozen=True)
class EdgeAgentSync(Plain):
    """Each request has its own key, and leaves the queue once: twice is harmless."""

    agent: EdgeAgent

    class Parameters(Record):
        pass

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        return cls(tools.four.edge_agent) if tools.four.edge_agent is not None else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        await answered(self.agent.health(), "Edge-Agent")
        return f"send {len(await self.agent.queue.waiting())} requests that wait to the edge agent"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        synced: tuple[str, ...] = ()
        failed: tuple[str, ...] = ()
        if self.agent.rpc is not None:
            found = await answered(self.agent.sync(), "Edge-Agent")
            synced, failed = found.synced, found.failed
        sent = await answered(self.agent.drain(), "Edge-Agent")
        left = len(await self.agent.queue.waiting())
        return Done(
            summary=f"{sent} requests sent, {len(synced)} were done already, {left} still wait",
            output={"sent": sent, "synced": list(synced), "failed": list(failed), "waiting": left},
        )
