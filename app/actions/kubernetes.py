"""What the actions on Kubernetes share: the API server, its names, notes on its objects, and when a rollout is over.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (patch types, resourceVersion as a precondition,
Status as the body of an error) and kubectl's own rollout status. Every patch names the resourceVersion it was made for,
so one that raced somebody else's change is refused with 409 and made anew.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints

from app.actions.api import Api
from app.actions.base import Failed, Situation, Tools
from app.actions.change import Change
from app.automation import Kubernetes
from app.domain.record import Record

NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=253)]
Object = dict[str, Any]
PatchType = Literal["merge-patch", "strategic-merge-patch", "json-patch"]
LOOK_AGAIN = timedelta(seconds=3)
"""Chosen: kubectl watches, we ask; a pod takes seconds to minutes to become ready."""
RESTARTED = "kubectl.kubernetes.io/restartedAt"
REVISION = "deployment.kubernetes.io/revision"


class OnDeployment(Record):
    deployment: Name
    namespace: Name | None = None


@dataclass(frozen=True)
class Cluster:
    """One API server. Raises throughout: Failed; 409 and 429 pass, 401, 403, 404 and 422 don't."""

    api: Api
    said: Kubernetes

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        said = tools.settings.playbooks.kubernetes
        if said.url is None:
            return None
        http = tools.http.trusting(said.ca_path) if said.ca_path else tools.http
        return cls(Api(http.named("kubernetes"), "Kubernetes", said.url), said)

    def namespace(self, asked: str | None) -> str:
        return asked or self.said.namespace

    def deployment(self, name: str, namespace: str | None) -> str:
        """The path of a deployment."""
        return f"/apis/apps/v1/namespaces/{self.namespace(namespace)}/deployments/{name}"

    async def get(self, path: str, at: Situation) -> Object:
        return as_object(await self.api.ask(at, "GET", path, await self._login()))

    async def list(self, path: str, at: Situation) -> list[Object]:
        return list((await self.get(path, at)).get("items") or [])

    async def post(self, path: str, body: Object, at: Situation) -> Object:
        return as_object(await self.api.ask(at, "POST", path, await self._login(), body))

    async def patch(self, path: str, body: object, kind: PatchType, at: Situation) -> Object:
        headers = {**await self._login(), "content-type": f"application/{kind}+json"}
        return as_object(await self.api.ask(at, "PATCH", path, headers, body))

    async def restart(self, path: str, at: Situation) -> Object:
        """Restarts a deployment as `kubectl rollout restart` does, once per step; the deployment as it is then."""
        found = await self.get(path, at)
        if found["spec"].get("paused"):
            raise Failed(f"{found['metadata']['name']} is paused: it would not restart before it is resumed")
        if note_of(found, "restart").get("key") == at.key:
            return found
        stamp = {"metadata": {"annotations": {RESTARTED: at.now.isoformat(timespec="seconds")}}}
        patch = {"metadata": noted(found, "restart", at, None), "spec": {"template": stamp}}
        return await self.patch(path, patch, "strategic-merge-patch", at)

    async def rolled_out(self, path: str, at: Situation) -> str:
        """How the rollout of a deployment ended. Raises: Failed, with a delay while it is under way."""
        deployment = await self.get(path, at)
        name, spec, status = deployment["metadata"]["name"], deployment["spec"], deployment.get("status", {})
        wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
        if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
            raise Failed(f"{name}: the change is not seen yet", LOOK_AGAIN)
        for condition in status.get("conditions", []):
            if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
                raise Failed(f"{name}: the rollout exceeded its progress deadline: {condition.get('message', '')}")
        if updated < wanted:
            raise Failed(f"{name}: {updated} of {wanted} replicas are updated", LOOK_AGAIN)
        if status.get("replicas", 0) > updated:
            raise Failed(f"{name}: {status['replicas'] - updated} old replicas are still to end", LOOK_AGAIN)
        if status.get("availableReplicas", 0) < updated:
            raise Failed(f"{name}: {status.get('availableReplicas', 0)} of {updated} are available", LOOK_AGAIN)
        return f"{name}: {updated} of {wanted} replicas are updated and available"

    async def _login(self) -> dict[str, str]:
        token = self.said.token.get_secret_value() if self.said.token else None
        if self.said.token_path is not None:
            try:
                token = (await asyncio.to_thread(self.said.token_path.read_text)).strip()
            except OSError as unreadable:
                raise Failed(f"playbooks.kubernetes.token_path: {unreadable.strerror}", LOOK_AGAIN) from unreadable
        return {"authorization": f"Bearer {token}"} if token else {}


@dataclass(frozen=True)
class ClusterChange(Change):
    """A value in one object. What was there before is noted in an annotation of the object, in the same patch."""

    cluster: Cluster

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        cluster = Cluster.configured(tools)
        return cls(cluster) if cluster else None


def as_object(answer: object) -> Object:
    if not isinstance(answer, dict):
        raise Failed("Kubernetes answered with what is no object", LOOK_AGAIN)
    return answer


def note_of(found: Object, action: str) -> Object:
    """What an action noted on an object: the `key` of its step, and what was `before`; empty when nothing."""
    try:
        note = json.loads(found["metadata"].get("annotations", {}).get(annotation(action), "{}"))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def noted(found: Object, action: str, at: Situation, before: object) -> Object:
    """`metadata` for a patch of the object as it was found, with the step's note."""
    note = json.dumps({"key": at.key, "incident": at.incident.id, "before": before})
    return {"resourceVersion": found["metadata"]["resourceVersion"], "annotations": {annotation(action): note}}


def annotation(action: str) -> str:
    return f"llm-incident-manager/{action}"


def container_of(deployment: Object, name: str) -> Object:
    """Raises: Failed when the deployment has no such container; a patch would add one."""
    containers: Iterable[Object] = deployment["spec"]["template"]["spec"]["containers"]
    for container in containers:
        if container["name"] == name:
            return container
    there = ", ".join(container["name"] for container in containers)
    raise Failed(f"{deployment['metadata']['name']} has no container {name!r}: it has {there}")


Replicas = Annotated[int, Field(ge=0, le=1000)]
