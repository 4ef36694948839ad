"""What the actions on LiteLLM's proxy share. Source: its management API, read in litellm 1.109.1, and tried there.

The incident's id goes along as litellm-changed-by, for LiteLLM's own audit log.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, SecretStr, StringConstraints

from app.actions.api import SOON, Api
from app.actions.base import Failed, Situation, Tools
from app.actions.change import Change
from app.domain.record import Record

HASH = r"[0-9a-f]{64}"


def no_secret(key: str) -> str:
    if key.startswith("sk-"):
        raise ValueError("must be the key's alias or its hash (64 hex digits), never the key itself")
    return key


KeyName = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(no_secret)]
ModelName = Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=255)]


class OnKey(Record):
    key: KeyName


@dataclass(frozen=True)
class Proxy:
    """One proxy. Raises throughout: Failed."""

    api: Api
    key: SecretStr

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        said = tools.settings.playbooks.litellm
        if said.url is None or said.api_key is None:
            return None
        return cls(Api(tools.http.named("litellm"), "LiteLLM", said.url), said.api_key)

    async def get(self, path: str, at: Situation, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self.ask("GET", f"{path}?{urlencode(query)}" if query else path, at)

    async def post(self, path: str, body: object, at: Situation) -> dict[str, Any]:
        return await self.ask("POST", path, at, body)

    async def ask(self, method: str, path: str, at: Situation, body: object = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.key.get_secret_value()}", "litellm-changed-by": at.incident.id}
        answer = await self.api.ask(at, method, path, headers, body)
        if not isinstance(answer, dict):
            raise Failed(f"LiteLLM answered {method} {path.partition('?')[0]} with what is no object", SOON)
        return answer

    async def router_settings(self, at: Situation) -> dict[str, Any]:
        """What the router goes by now, whether it comes from the file or the database."""
        return dict((await self.get("/router/settings", at)).get("current_values") or {})

    async def must_know(self, models: tuple[str, ...], at: Situation) -> None:
        """Raises: Failed when there is no such model (group) on the proxy."""
        known = {model.get("id") for model in (await self.get("/models", at)).get("data", [])}
        if unknown := [model for model in models if model not in known]:
            raise Failed(f"LiteLLM knows no model {', '.join(unknown)}")

    async def hash_of(self, key: str, at: Situation) -> str:
        """A key's hash, by its alias or itself. Raises: Failed when no key, or more than one, is called so."""
        if re.fullmatch(HASH, key):
            return key
        found = (await self.get("/key/list", at, {"key_alias": key})).get("keys") or []
        if len(found) != 1:
            raise Failed(f"LiteLLM has {len(found)} keys with the alias {key!r}")
        return str(found[0])

    async def key_info(self, key: str, at: Situation) -> dict[str, Any]:
        """All of a key but its secret. Raises: Failed, also for a key that was deleted."""
        hashed = await self.hash_of(key, at)
        info: dict[str, Any] = (await self.get("/key/info", at, {"key": hashed})).get("info") or {}
        if deleted(info):
            raise Failed(f"key {key!r} was deleted")
        return info


@dataclass(frozen=True)
class ProxyChange(Change):
    """A value in the proxy's database, which keeps no note of what was there before."""

    proxy: Proxy

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        proxy = Proxy.configured(tools)
        return cls(proxy) if proxy else None


def deleted(info: Mapping[str, object]) -> bool:
    """LiteLLM goes on telling about keys that were deleted."""
    return info.get("status") == "deleted" or bool(info.get("deleted_at"))


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
