"""Asks Shield which threat an incident is, and how sure it is."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import StringConstraints

from app.actions.asked import asked as answered
from app.actions.base import Done, Plain, Situation, Tools
from app.domain.record import Record
from app.integrations.shield import Shield, Suspicion, Threat


class OfText(Record):
    text: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] | None = None


async def threat(client: Shield, asked: OfText, at: Situation) -> Threat:
    """Raises: Failed."""
    view = at.incident
    judged = view.classification.incident_class if view.classification else None
    about = Suspicion(
        id=view.id, kind=judged or view.incident_type, source=view.source, severity=view.severity, at=view.created_at,
        text=asked.text or f"{view.title}\n{view.description}".strip(),
    )  # fmt: skip
    return await answered(client.analyze_threat(about), "Shield")


def told(found: Threat) -> str:
    return f"{'no threat' if found.kind == 'none' else found.kind}, {found.confidence:.0%} sure"


@dataclass(frozen=True)
class ShieldAnalyze(Plain):
    """It only reads: twice is harmless.

    `text`: none = the incident's title and description; personal data and what looks like a secret
    are taken out before it is sent.
    """

    client: Shield

    class Parameters(OfText):
        pass

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        return cls(tools.four.shield) if tools.four.shield is not None else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"ask Shield; at present: {told(await threat(self.client, asked, at))}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        found = await threat(self.client, asked, at)
        return Done(summary=f"Shield: {told(found)}", output={"threat": found.model_dump(mode="json")})
