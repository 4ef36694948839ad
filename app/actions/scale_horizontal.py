"""More or fewer replicas of a deployment, through its scale subresource; where an autoscaler rules, its minimum.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/ (…/scale) and
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/: a HorizontalPodAutoscaler would take a
number of replicas back at its next look, within seconds.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from app.actions.base import Done, Failed, Situation
from app.actions.kubernetes import ClusterChange, Object, OnDeployment, Replicas, note_of, noted


@dataclass(frozen=True)
class ScaleHorizontal(ClusterChange):
    """`deployment`: its name; `namespace`: none = the one of the settings.

    `replicas`: that many; `add`: so many more, or fewer if negative. `at_least` and `at_most` bound what comes out.

    The value is `replicas`, or `minReplicas` where a HorizontalPodAutoscaler scales the deployment (it is never raised
    above its maxReplicas). What was there before is noted on the deployment or the autoscaler under the step's key
    before anything is scaled, so that `add` adds once.
    """

    class Parameters(OnDeployment):
        replicas: Replicas | None = None
        add: Annotated[int, Field(ge=-1000, le=1000)] | None = None
        at_least: Replicas = 1
        at_most: Annotated[int, Field(ge=1, le=1000)]

        @model_validator(mode="after")
        def _one_way(self) -> Self:
            if (self.replicas is None) == (self.add is None):
                raise ValueError("needs either replicas or add")
            if self.at_least > self.at_most:
                raise ValueError("at_least must not be more than at_most")
            return self

    destructive: ClassVar[bool] = False

    def subject(self, asked: Parameters) -> str:
        return f"deployment {asked.deployment}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        deployment, autoscaler, _ = await self._found(asked, at)
        if autoscaler is None:
            return {"replicas": deployment["spec"].get("replicas", 1)}
        return {"minReplicas": autoscaler["spec"].get("minReplicas", 1)}

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        _, autoscaler, _ = await self._found(asked, at)
        most = min(asked.at_most, autoscaler["spec"]["maxReplicas"]) if autoscaler else asked.at_most
        [(name, number)] = found.items()
        number = asked.replicas if asked.replicas is not None else number + (asked.add or 0)
        return {name: min(max(number, asked.at_least), most)}

    async def recall(self, asked: Parameters, at: Situation) -> Any:
        deployment, autoscaler, _ = await self._found(asked, at)
        note = note_of(autoscaler or deployment, "scale")
        return note["before"] if note.get("key") == at.key else None

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        deployment, autoscaler, path = await self._found(asked, at)
        if ("replicas" in value) != (autoscaler is None):
            raise Failed(f"{asked.deployment} was given or has lost its autoscaler meanwhile")
        found = autoscaler or deployment
        metadata = noted(found, "scale", at, before)
        if autoscaler is not None:
            body = {"metadata": metadata, "spec": {"minReplicas": value["minReplicas"]}}
            await self.cluster.patch(path, body, "merge-patch", at)
            return
        if note_of(found, "scale").get("key") != at.key:
            found = await self.cluster.patch(path, {"metadata": metadata}, "merge-patch", at)
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        scale = {"metadata": version, "spec": {"replicas": value["replicas"]}}
        await self.cluster.patch(f"{path}/scale", scale, "merge-patch", at)

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        await super().verify(asked, done, at)
        return await self.cluster.rolled_out(self.cluster.deployment(asked.deployment, asked.namespace), at)

    async def _found(self, asked: Parameters, at: Situation) -> tuple[Object, Object | None, str]:
        """The deployment, its autoscaler, and the path of what is to be changed."""
        path = self.cluster.deployment(asked.deployment, asked.namespace)
        deployment = await self.cluster.get(path, at)
        autoscalers = (
            f"/apis/autoscaling/v2/namespaces/{self.cluster.namespace(asked.namespace)}/horizontalpodautoscalers"
        )
        for autoscaler in await self.cluster.list(autoscalers, at):
            scaled = autoscaler["spec"]["scaleTargetRef"]
            if (scaled["kind"], scaled["name"]) == ("Deployment", asked.deployment):
                return deployment, autoscaler, f"{autoscalers}/{autoscaler['metadata']['name']}"
        return deployment, None, path
