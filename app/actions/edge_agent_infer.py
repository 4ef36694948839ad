"""Has the edge agent infer something where the data is, or keeps the request until it is back."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from app.actions.asked import asked as answered
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.domain.enrichment import cut
from app.domain.record import Record
from app.integrations.edge_agent import EdgeAgent, Inference, Priority

Word = Annotated[str, StringConstraints(min_length=1, max_length=255)]
KEPT = 4000


@dataclass(frozen=True)
class EdgeAgentInfer(Plain):
    """The step's key is the request's id, so that asking twice is asking once, as far as the agent takes ids.

    `model` and `input`: what is inferred from what, without personal data and what looks like a secret.
    `parameters`: temperature and the like. `priority`: 1 (low) to 4 (critical). `may_wait`: an agent that is away gets
    it when it is back, and its answer is then not kept. In the output `status` is COMPLETED or QUEUED, `result` cut to
    4,000 characters.
    """

    agent: EdgeAgent

    class Parameters(Record):
        model: Word
        input: Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
        parameters: dict[Word, Annotated[str, StringConstraints(max_length=1000)]] = Field({}, max_length=50)
        priority: Priority = Priority.MEDIUM
        may_wait: bool = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        return cls(tools.four.edge_agent) if tools.four.edge_agent is not None else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        try:
            await answered(self.agent.health(), "Edge-Agent")
        except Failed as away:
            if away.retry_after is None or not asked.may_wait:
                raise
            return f"have the edge agent ask {asked.model} once it is back: {away}"
        return f"have the edge agent ask {asked.model}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        request = Inference(
            request_id=at.key[:255], model=asked.model, input=asked.input, parameters=asked.parameters,
            priority=asked.priority, may_wait=asked.may_wait, at=at.now,
        )  # fmt: skip
        found = await answered(self.agent.process_request(request), "Edge-Agent")
        why = f", as it is away: {found.metadata.get('why', '')}" if found.status == "QUEUED" else ""
        return Done(
            summary=cut(f"{asked.model}: {found.status.lower()}{why}", 500),
            output={
                "status": found.status,
                "result": cut(self.agent.clean.text(found.result), KEPT),
                "request_id": at.key[:255],
            },
        )
