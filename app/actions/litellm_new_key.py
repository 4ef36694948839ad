"""A new virtual key, whose secret goes into a file and nowhere else.

Source: litellm 1.109.1, POST /key/generate with a key of our own (unless disable_custom_api_keys), GET /key/info,
POST /key/delete. The token that names a key everywhere is the SHA-256 of the secret.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field, StringConstraints

from app.actions.api import SOON, Missing
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.litellm import ModelName, Proxy, deleted
from app.domain.record import Record

T = TypeVar("T")
Alias = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][-_.a-zA-Z0-9]{0,99}$")]
Id = Annotated[str, StringConstraints(min_length=1, max_length=255)]


@dataclass(frozen=True)
class LiteLLMNewKey(Plain):
    """`alias`: its name, once on the proxy; `models`: those it may use, none = all; `team_id`, `user_id`: whose it is.

    `max_budget` in US dollars, none = no limit; `duration`: how long it is valid (30s, 15m, 12h, 30d), none = for ever.

    The secret is in the file `playbooks.litellm.new_keys_directory`/`alias` (mode 600), and never in output or logs.
    It is written there before LiteLLM hears of it, and taken away if LiteLLM refuses it; so the second time finds it
    and the key, which carries the step's key in its metadata. Workers that share the work need to share the directory.
    `undo` deletes the key and the file.
    """

    proxy: Proxy
    directory: Path

    class Parameters(Record):
        alias: Alias
        models: Annotated[tuple[ModelName, ...], Field(max_length=100)] = ()
        team_id: Id | None = None
        user_id: Id | None = None
        max_budget: Annotated[float, Field(ge=0, le=1e9)] | None = None
        duration: Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,5}[smhd]$")] | None = None

    destructive: ClassVar[bool] = True
    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        proxy, directory = Proxy.configured(tools), tools.settings.playbooks.litellm.new_keys_directory
        return cls(proxy, directory) if proxy and directory else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        await self._ours(await self._secret(asked), asked, at)
        if not await asyncio.to_thread(os.access, self.directory, os.W_OK | os.X_OK):
            raise Failed(f"{self.directory} can't be written to")
        return f"new key {asked.alias}, its secret into {self._file(asked)}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        secret = await self._secret(asked)
        made = await self._ours(secret, asked, at)
        if secret is None:
            secret = await written(asyncio.to_thread(write, self._file(asked)))
        if not made:
            await self._generated(secret, asked, at)
        output = {"alias": asked.alias, "token": hashed(secret), "file": str(self._file(asked))}
        return Done(summary=f"new key {asked.alias}, its secret in {self._file(asked)}", output=output)

    async def _generated(self, secret: str, asked: Parameters, at: Situation) -> None:
        said = {
            "key": secret,
            "key_alias": asked.alias,
            "models": asked.models,
            "metadata": {"incident": at.incident.id, "step": at.key},
            **asked.model_dump(include={"team_id", "user_id", "max_budget", "duration"}, exclude_none=True),
        }
        try:
            await self.proxy.post("/key/generate", said, at)
        except Failed as failed:
            if failed.retry_after is None and not failed.doubtful:
                await asyncio.to_thread(self._file(asked).unlink, missing_ok=True)
            raise without(secret, failed) from None

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        await self.proxy.key_info(str(done.output["token"]), at)
        return f"key {asked.alias} is valid"

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        token = str(done.output["token"])
        info = await self._info(token, at)
        if info is not None and not deleted(info):
            await self.proxy.post("/key/delete", {"keys": [token]}, at)
        secret = await self._secret(asked)
        if secret is not None and hashed(secret) == token:
            await asyncio.to_thread(self._file(asked).unlink, missing_ok=True)
        return Done(summary=f"deleted key {asked.alias} and its file")

    async def _ours(self, secret: str | None, asked: Parameters, at: Situation) -> bool:
        """Whether this step has made the key already. Raises: Failed when the alias is somebody else's."""
        info = await self._info(hashed(secret), at) if secret else None
        if info is not None:
            if (info.get("metadata") or {}).get("step") != at.key or deleted(info):
                raise Failed(f"{self._file(asked)} is the secret of an earlier key: choose another alias")
            return True
        taken = (await self.proxy.get("/key/list", at, {"key_alias": asked.alias})).get("keys")
        if taken:
            raise Failed(f"LiteLLM has a key with the alias {asked.alias} already")
        return False

    async def _info(self, token: str, at: Situation) -> dict[str, Any] | None:
        try:
            return (await self.proxy.get("/key/info", at, {"key": token})).get("info")
        except Missing:
            return None

    async def _secret(self, asked: Parameters) -> str | None:
        try:
            return await asyncio.to_thread(self._file(asked).read_text)
        except FileNotFoundError:
            return None
        except OSError as unreadable:
            raise Failed(f"{self._file(asked)}: {unreadable.strerror}") from unreadable

    def _file(self, asked: Parameters) -> Path:
        return self.directory / asked.alias


def write(path: Path) -> str:
    """A new secret, in a file that nobody else may read, whole or not at all. Raises: OSError."""
    secret = f"sk-{secrets.token_urlsafe(32)}"
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return secret


async def written(writing: Awaitable[T]) -> T:
    try:
        return await writing
    except OSError as full:
        raise Failed(f"the secret can't be kept: {full.strerror}", SOON) from full


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def without(secret: str, failed: Failed) -> Failed:
    """The same failure, should the answer have repeated the secret."""
    return Failed(failed.message.replace(secret, "sk-…"), failed.retry_after, doubtful=failed.doubtful)
