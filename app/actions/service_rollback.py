"""Puts a deployment's earlier pod template back, as `kubectl rollout undo` does: the API has no call for it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment; the template is
that of an older ReplicaSet of the deployment, without the label pod-template-hash.
"""

import copy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field

from app.actions.base import Done, Failed, Situation
from app.actions.kubernetes import (
    LOOK_AGAIN,
    RESTARTED,
    REVISION,
    ClusterChange,
    Object,
    OnDeployment,
    note_of,
    noted,
)

HASH = "pod-template-hash"
ARGO = "argocd.argoproj.io/tracking-id"


@dataclass(frozen=True)
class ServiceRollback(ClusterChange):
    """`deployment`: its name; `namespace`: none = the one of the settings.

    Goes to the revision before the present one, or `to_revision`. A mere restart is no revision of its own here.

    The value is the ReplicaSet whose template the deployment has. The second time finds the step's key noted on the
    deployment: without it, two rollbacks would be none. `undo` puts the template back that was there before.
    A GitOps controller puts its own back; where Argo CD's tracking annotation shows, `check` says so.
    """

    class Parameters(OnDeployment):
        to_revision: Annotated[int, Field(ge=1)] | None = None

    destructive: ClassVar[bool] = True

    def subject(self, asked: Parameters) -> str:
        return f"deployment {asked.deployment}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        deployment, replica_sets = await self._both(asked, at)
        present = template(deployment)
        now = next((one for one in replica_sets if template(one) == present), None)
        if now is None:
            raise Failed(f"{asked.deployment}: its newest ReplicaSet is not there yet", LOOK_AGAIN)
        return str(now["metadata"]["name"])

    async def check(self, asked: Parameters, at: Situation) -> str:
        deployment, replica_sets = await self._both(asked, at)
        now = await self.look(asked, at)
        managed = ARGO in deployment["metadata"].get("annotations", {})
        warning = "; Argo CD manages it and may put its own back" if managed else ""
        return f"{self.subject(asked)}: {now} → {target(asked, replica_sets, now)}{warning}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        deployment, replica_sets = await self._both(asked, at)
        if deployment["spec"].get("paused"):
            raise Failed(f"{asked.deployment} is paused: resume it before rolling it back")
        note = note_of(deployment, "rollback")
        if note.get("key") == at.key:
            before, after = note["before"]
        else:
            before = await self.look(asked, at)
            after = target(asked, replica_sets, before)
            await self._set(asked, after, [before, after], at)
        return Done(summary=f"{self.subject(asked)}: {before} → {after}", output={"before": before, "after": after})

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        await super().verify(asked, done, at)
        return await self.cluster.rolled_out(self._path(asked), at)

    async def put(self, asked: Parameters, value: str, before: Any, at: Situation) -> None:
        deployment, replica_sets = await self._both(asked, at)
        chosen = next((one for one in replica_sets if one["metadata"]["name"] == value), None)
        if chosen is None:
            raise Failed(f"{asked.deployment} has no ReplicaSet {value} any more: its history was cut")
        metadata = noted(deployment, "rollback", at, before)
        annotations = deployment["metadata"].get("annotations", {}) | metadata["annotations"]
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
            {"op": "replace", "path": "/spec/template", "value": without_hash(chosen)},
        ]
        await self.cluster.patch(self._path(asked), patch, "json-patch", at)

    async def _both(self, asked: Parameters, at: Situation) -> tuple[Object, list[Object]]:
        """The deployment, and the ReplicaSets it controls, the newest first."""
        deployment = await self.cluster.get(self._path(asked), at)
        query = urlencode({"labelSelector": selector(deployment["spec"]["selector"])})
        namespace = self.cluster.namespace(asked.namespace)
        listed = await self.cluster.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets?{query}", at)
        uid = deployment["metadata"]["uid"]
        owned = [one for one in listed if any(
            owner["uid"] == uid and owner.get("controller") for owner in one["metadata"].get("ownerReferences", [])
        )]  # fmt: skip
        return deployment, sorted(owned, key=revision, reverse=True)

    def _path(self, asked: Parameters) -> str:
        return self.cluster.deployment(asked.deployment, asked.namespace)


def target(asked: ServiceRollback.Parameters, replica_sets: list[Object], now: str) -> str:
    """The name of the ReplicaSet to go back to. Raises: Failed when there is none."""
    present = next(one for one in replica_sets if one["metadata"]["name"] == now)
    if asked.to_revision is not None:
        found = next((one for one in replica_sets if revision(one) == asked.to_revision), None)
    else:
        older = (one for one in replica_sets if revision(one) < revision(present))
        found = next((one for one in older if but_for_restarts(one) != but_for_restarts(present)), None)
    if found is None:
        there = ", ".join(str(revision(one)) for one in replica_sets)
        wanted = f"revision {asked.to_revision}" if asked.to_revision else f"revision before {revision(present)}"
        raise Failed(f"{asked.deployment} has no {wanted}: there are {there}")
    return str(found["metadata"]["name"])


def revision(replica_set: Object) -> int:
    said = replica_set["metadata"].get("annotations", {}).get(REVISION, "0")
    return int(said) if said.isdecimal() else 0


def without_hash(owner: Object) -> Object:
    """A deployment's or ReplicaSet's pod template, as a deployment has it."""
    found: Object = copy.deepcopy(owner["spec"]["template"])
    found.get("metadata", {}).get("labels", {}).pop(HASH, None)
    return found


def template(owner: Object) -> Object:
    """A pod template without what the server adds to it."""
    found = without_hash(owner)
    found.get("metadata", {}).pop("creationTimestamp", None)
    return found


def but_for_restarts(owner: Object) -> Object:
    found = template(owner)
    metadata = found.pop("metadata", {})
    annotations = {name: said for name, said in metadata.get("annotations", {}).items() if name != RESTARTED}
    return found | {"labels": metadata.get("labels", {}), "annotations": annotations}


def selector(said: Object) -> str:
    """A label selector as a query has it. Source: kubernetes.io/docs/concepts/overview/working-with-objects/labels."""
    parts = [f"{label}={value}" for label, value in said.get("matchLabels", {}).items()]
    for one in said.get("matchExpressions", []):
        values = f" ({','.join(one.get('values', []))})"
        forms = {"In": f"{one['key']} in{values}", "NotIn": f"{one['key']} notin{values}", "Exists": one["key"]}
        parts.append(forms.get(one["operator"], f"!{one['key']}"))
    return ",".join(parts)
