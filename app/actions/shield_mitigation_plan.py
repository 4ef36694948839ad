"""Has Shield plan what to do against a threat that it is sure of. Nothing of the plan is carried out."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from app.actions.asked import asked as answered
from app.actions.base import Done, Plain, Situation, Tools
from app.actions.shield_analyze import OfText, threat, told
from app.integrations.shield import SURE, Shield

Word = Annotated[str, StringConstraints(max_length=500)]


@dataclass(frozen=True)
class ShieldMitigationPlan(Plain):
    """It only reads: twice is harmless, though Shield may give the plan another id.

    `text`: what it is about; none = the incident's title and description. `context`: what else Shield should know.
    The output has no `plan` while Shield is less than 70 % sure.
    """

    client: Shield

    class Parameters(OfText):
        context: dict[Word, Word] = Field({}, max_length=50)

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        """Only in the first version's dialect: the published Shield makes no plans."""
        shield = tools.four.shield
        return cls(shield) if shield is not None and shield.rpc is not None else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        found = await threat(self.client, asked, at)
        plan = "would ask for a plan" if found.confidence >= SURE else "would not ask for a plan"
        return f"{told(found)}: {plan}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        found = await threat(self.client, asked, at)
        plan = await answered(self.client.mitigation_plan(found, asked.context), "Shield")
        output: dict[str, object] = {"threat": found.model_dump(mode="json"), "plan": None}
        if plan is None:
            return Done(summary=f"{told(found)}: too unsure for a plan", output=output)
        steps = "; ".join(step.action for step in plan.steps[:5])
        summary = f"{told(found)}: {len(plan.steps)} steps, {plan.minutes} min: {steps}"
        return Done(summary=summary[:500], output=output | {"plan": plan.model_dump(mode="json")})
