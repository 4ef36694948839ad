"""More budget for a virtual key, for some hours.

Source: litellm 1.109.1, POST /key/update {"temp_budget_increase", "temp_budget_expiry"}, kept in the key's metadata;
its documentation calls it a feature of the enterprise edition.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from app.actions.base import Failed, Situation
from app.actions.litellm import OnKey, ProxyChange


@dataclass(frozen=True)
class LiteLLMTemporaryBudget(ProxyChange):
    """`key`: its alias, or its hash as LiteLLM's alerts and logs have it.

    `increase_usd` comes on top of the key's budget for `hours`. It is set, not added: twice is once, until
    the later of the two ends.

    LiteLLM can't take the two values away again, so `undo` sets what was there, or else an increase of 0.
    """

    class Parameters(OnKey):
        increase_usd: Annotated[float, Field(gt=0, le=1_000_000)]
        hours: Annotated[float, Field(gt=0, le=720)] = 24

    destructive: ClassVar[bool] = True

    def subject(self, asked: Parameters) -> str:
        return f"temporary budget of key {asked.key}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        info = await self.proxy.key_info(asked.key, at)
        if info.get("max_budget") is None:
            raise Failed(f"key {asked.key!r} has no budget that could be raised")
        said = info.get("metadata") or {}
        expires = instant(said.get("temp_budget_expiry"))
        if not said.get("temp_budget_increase") or expires is None or expires <= at.now:
            return None
        return {"increase": float(said["temp_budget_increase"]), "until": expires.isoformat()}

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        until = (at.now + timedelta(hours=asked.hours)).replace(microsecond=0)
        return {"increase": asked.increase_usd, "until": until.isoformat()}

    def same(self, found: Any, wanted: Any) -> bool:
        if found is None or wanted is None:
            return found is wanted
        return found["increase"] == wanted["increase"] and instant(found["until"]) == instant(wanted["until"])

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        value = value or {"increase": 0, "until": at.now.isoformat()}
        body = {"temp_budget_increase": value["increase"], "temp_budget_expiry": value["until"]}
        await self.proxy.post("/key/update", {"key": await self.proxy.hash_of(asked.key, at), **body}, at)


def instant(said: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
