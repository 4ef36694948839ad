"""Moves a label, by default `production`, to another version of a prompt in Langfuse: what applications then get.

Source: https://api.reference.langfuse.com, GET /api/public/v2/prompts[/{name}] and PATCH …/{name}/versions/{version}
{"newLabels"}, which takes the label from the version that had it. Names of folders are encoded whole.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from app.actions.api import SOON, Api, Missing
from app.actions.base import Failed, Situation, Tools
from app.actions.change import Change
from app.domain.record import Record


def movable(label: str) -> str:
    if label == "latest":
        raise ValueError("latest is Langfuse's own: it can't be moved")
    return label


def mark(at: Situation) -> str:
    """The label that remembers where a step found the other one."""
    return f"before-{hashlib.sha256(at.key.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class LangfusePromptLabel(Change):
    """`prompt`: its name, with its folders. `label`: the one that moves, by default production. `version`: where to.

    No version = the newest one older than the one that has the label now.

    The version that had it first gets a label of the step's own (`before-…`), which stays: the second time finds it,
    and doesn't go back one more. Langfuse can move a label, not take it away, so it must be on some version before.
    Applications keep a prompt for about a minute, so what they answer changes that much later.
    """

    api: Api
    public_key: str
    secret_key: SecretStr

    class Parameters(Record):
        prompt: Annotated[str, StringConstraints(min_length=1, max_length=500)]
        label: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.-]{1,36}$"), AfterValidator(movable)] = "production"
        version: Annotated[int, Field(ge=1)] | None = None

    destructive: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        said = tools.settings.playbooks.langfuse
        if said.url is None or said.public_key is None or said.secret_key is None:
            return None
        return cls(Api(tools.http.named("langfuse"), "Langfuse", said.url), said.public_key, said.secret_key)

    def subject(self, asked: Parameters) -> str:
        return f"label {asked.label} of prompt {asked.prompt}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        version = await self._labelled(asked, asked.label, at)
        if version is None:
            raise Failed(f"no version of prompt {asked.prompt!r} has the label {asked.label}")
        return version

    async def recall(self, asked: Parameters, at: Situation) -> Any:
        return await self._labelled(asked, mark(at), at)

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        listed = await self._ask("GET", f"/api/public/v2/prompts?{urlencode({'name': asked.prompt})}", at)
        there: list[int] = next(
            (one["versions"] for one in listed.get("data", []) if one.get("name") == asked.prompt), []
        )
        if asked.version is not None:
            if asked.version not in there:
                raise Failed(f"prompt {asked.prompt!r} has no version {asked.version}")
            return asked.version
        older = [version for version in there if version < found]
        if not older:
            raise Failed(f"version {found} of prompt {asked.prompt!r} is the oldest: there is none to go back to")
        return max(older)

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        if before is not None:
            await self._put_on(asked, before, mark(at), at)
        await self._put_on(asked, value, asked.label, at)

    async def _put_on(self, asked: Parameters, version: int, label: str, at: Situation) -> None:
        await self._ask("PATCH", f"{self._path(asked)}/versions/{version}", at, {"newLabels": [label]})

    async def _labelled(self, asked: Parameters, label: str, at: Situation) -> int | None:
        try:
            found = (await self._ask("GET", f"{self._path(asked)}?{urlencode({'label': label})}", at)).get("version")
        except Missing:
            return None
        if not isinstance(found, int):
            raise Failed("Langfuse answered without the version", SOON)
        return found

    def _path(self, asked: Parameters) -> str:
        return f"/api/public/v2/prompts/{quote(asked.prompt, safe='')}"

    async def _ask(self, method: str, path: str, at: Situation, body: object = None) -> dict[str, Any]:
        login = base64.b64encode(f"{self.public_key}:{self.secret_key.get_secret_value()}".encode()).decode()
        answer = await self.api.ask(at, method, path, {"authorization": f"Basic {login}"}, body)
        if not isinstance(answer, dict):
            raise Failed("Langfuse answered with what is no object", SOON)
        return answer
