"""Keys of a ConfigMap, and a restart of the deployment that reads them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/; the patch is a
JSON merge patch, in which null takes a key away (RFC 7386).
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from app.actions.base import Done, Failed, Situation
from app.actions.kubernetes import ClusterChange, Name, Object, note_of, noted
from app.domain.record import Record

OLD_AT_MOST = 32_768
"""In characters, all old values together: they are kept in an annotation, and those of one object share 256 KiB."""
Key = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]


@dataclass(frozen=True)
class ConfigChange(ClusterChange):
    """`config_map`: its name; `namespace`: none = the one of the settings.

    `set`: key → its new value, null = take it away; 20 at most. `restart`: the deployment to restart after that; none
    = nothing. Old values are noted on the ConfigMap under the step's key, in the patch that changes them, and
    are in the output: secrets don't belong in a ConfigMap. `undo` restores them and restarts again.
    """

    class Parameters(Record):
        config_map: Name
        set: dict[Key, Annotated[str, StringConstraints(max_length=8192)] | None] = Field(min_length=1, max_length=20)
        restart: Name | None = None
        namespace: Name | None = None

    destructive: ClassVar[bool] = True

    def subject(self, asked: Parameters) -> str:
        return f"config map {asked.config_map}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        found = await self._config_map(asked, at)
        if found.get("immutable"):
            raise Failed(f"config map {asked.config_map} is immutable")
        old = {key: (found.get("data") or {}).get(key) for key in asked.set}
        if sum(len(value or "") for value in old.values()) > OLD_AT_MOST:
            raise Failed(f"the old values in {asked.config_map} are longer than {OLD_AT_MOST}: they could not be kept")
        return old

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return dict(asked.set)

    async def check(self, asked: Parameters, at: Situation) -> str:
        said = await super().check(asked, at)
        if asked.restart is None:
            return said
        await self.cluster.get(self.cluster.deployment(asked.restart, asked.namespace), at)
        return f"{said}; restart deployment {asked.restart}"

    async def recall(self, asked: Parameters, at: Situation) -> Any:
        note = note_of(await self._config_map(asked, at), "config")
        return note["before"] if note.get("key") == at.key else None

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        found = await self._config_map(asked, at)
        patch = {"metadata": noted(found, "config", at, before), "data": value}
        await self.cluster.patch(self._path(asked), patch, "merge-patch", at)

    async def run(self, asked: Parameters, at: Situation) -> Done:
        return await self._restarted(asked, await super().run(asked, at), at)

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        undone = await super().undo(asked, done, at)
        if done.output["before"] == done.output["after"]:
            return undone
        return await self._restarted(asked, undone, at)

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        said = await super().verify(asked, done, at)
        if asked.restart is None:
            return said
        return await self.cluster.rolled_out(self.cluster.deployment(asked.restart, asked.namespace), at)

    async def _restarted(self, asked: Parameters, done: Done, at: Situation) -> Done:
        if asked.restart is None:
            return done
        await self.cluster.restart(self.cluster.deployment(asked.restart, asked.namespace), at)
        return done.model_copy(update={"summary": f"{done.summary}; restarted {asked.restart}"})

    async def _config_map(self, asked: Parameters, at: Situation) -> Object:
        return await self.cluster.get(self._path(asked), at)

    def _path(self, asked: Parameters) -> str:
        return f"/api/v1/namespaces/{self.cluster.namespace(asked.namespace)}/configmaps/{asked.config_map}"
