"""Restarts a deployment, or evicts one pod of it.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/kubectl_rollout_restart/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ (429: a PodDisruptionBudget refuses for now).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import model_validator

from app.actions.api import Conflict, Missing
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.kubernetes import LOOK_AGAIN, Cluster, Name, Object
from app.domain.record import Record


@dataclass(frozen=True)
class ServiceRestart(Plain):
    """`deployment`: all of its pods, one after the other, as its strategy says. `pod`: that one alone, evicted.

    `namespace`: none = the one of the settings.

    The second time finds the step's key noted on the deployment and restarts nothing. A pod is evicted by its uid, and
    one that isn't there counts as gone; only a StatefulSet's pod, which comes back under its name, may be evicted again
    when we die before writing down that it was.
    """

    cluster: Cluster

    class Parameters(Record):
        deployment: Name | None = None
        pod: Name | None = None
        namespace: Name | None = None

        @model_validator(mode="after")
        def _one_of_them(self) -> Self:
            if (self.deployment is None) == (self.pod is None):
                raise ValueError("needs either deployment or pod")
            return self

    destructive: ClassVar[bool] = False

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        cluster = Cluster.configured(tools)
        return cls(cluster) if cluster else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        if asked.pod is not None:
            pod = await self._pod(asked, at)
            return f"evict pod {asked.pod}" if pod else f"pod {asked.pod} is not there: nothing to evict"
        found = await self.cluster.get(self._path(asked), at)
        if found["spec"].get("paused"):
            raise Failed(f"{asked.deployment} is paused: it would not restart before it is resumed")
        return f"restart deployment {asked.deployment}, {found['spec'].get('replicas', 1)} replicas"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        if asked.pod is not None:
            return await self._evicted(asked, at)
        await self.cluster.restart(self._path(asked), at)
        return Done(summary=f"restarted deployment {asked.deployment}")

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        if asked.pod is None:
            return await self.cluster.rolled_out(self._path(asked), at)
        pod = await self._pod(asked, at)
        if pod and pod["metadata"]["uid"] == done.output["uid"]:
            raise Failed(f"pod {asked.pod} is still ending", LOOK_AGAIN)
        return f"pod {asked.pod} is gone"

    async def _evicted(self, asked: Parameters, at: Situation) -> Done:
        pod = await self._pod(asked, at)
        if pod is None:
            return Done(summary=f"pod {asked.pod} is not there", output={"uid": None})
        uid: Any = pod["metadata"]["uid"]
        eviction: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": asked.pod, "namespace": self.cluster.namespace(asked.namespace)},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            if not pod["metadata"].get("deletionTimestamp"):
                await self.cluster.post(f"{self._path(asked)}/eviction", eviction, at)
        except Failed as failed:
            unsure = failed.doubtful or isinstance(failed, Missing | Conflict)
            if not unsure or not await self._ending(asked, uid, at):
                raise
        return Done(summary=f"evicted pod {asked.pod}", output={"uid": uid})

    async def _ending(self, asked: Parameters, uid: str, at: Situation) -> bool:
        try:
            pod = await self._pod(asked, at)
        except Failed:
            return False
        return pod is None or pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"]

    async def _pod(self, asked: Parameters, at: Situation) -> Object | None:
        try:
            return await self.cluster.get(self._path(asked), at)
        except Missing:
            return None

    def _path(self, asked: Parameters) -> str:
        if asked.deployment is not None:
            return self.cluster.deployment(asked.deployment, asked.namespace)
        return f"/api/v1/namespaces/{self.cluster.namespace(asked.namespace)}/pods/{asked.pod}"
