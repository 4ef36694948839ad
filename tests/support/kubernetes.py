"""An API server on loopback: patches of three kinds, versions, ReplicaSets, budgets, autoscalers, rights.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and the pages the actions name.
"""

import copy
import hashlib
import json
from typing import Any

from tests.support.receivers import Request
from tests.support.vendor import Answered, Vendor

TOKEN = "service-account-token"
REVISION = "deployment.kubernetes.io/revision"
APPS = "/apis/apps/v1/namespaces/default"
CORE = "/api/v1/namespaces/default"
SCALING = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
Object = dict[str, Any]


class FakeKubernetes(Vendor):
    """`forbidden`: paths that the account may not write to. `protected`: pods whose budget refuses an eviction.

    A rollout begins when a template or a number of replicas changes, and is over when the test says `settles`.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.objects: dict[str, Object] = {}
        self.forbidden: set[str] = set()
        self.protected: set[str] = set()
        self.version = 0
        self.raced = False

    def deploys(self, name: str, image: str, replicas: int = 2) -> str:
        """A deployment that has been there for a while; its path."""
        container = {"name": "server", "image": image, "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        path = f"{APPS}/deployments/{name}"
        self.keeps(path, {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec})
        self._rolls(path)
        self.settles(name)
        return path

    def releases(self, name: str, image: str) -> None:
        path = f"{APPS}/deployments/{name}"
        self.objects[path]["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self._rolls(path)
        self.settles(name)

    def keeps(self, path: str, found: Object) -> Object:
        self.version += 1
        metadata = found.setdefault("metadata", {})
        metadata["resourceVersion"] = str(self.version)
        self.objects[path] = found
        return found

    def settles(self, name: str) -> None:
        """The deployment's rollout ends well."""
        found = self.objects[f"{APPS}/deployments/{name}"]
        replicas, generation = found["spec"]["replicas"], found["metadata"].get("generation", 1)
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas)
        found["status"] = {"observedGeneration": generation, **counts}

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return status(401, "Unauthorized", "Unauthorized")
        if request.method != "GET" and path in self.forbidden:
            return status(403, "Forbidden", f'cannot {request.method.lower()} resource "{path}"')
        if request.method == "POST":
            return self._evicts(path, json.loads(request.body))
        if request.method == "PATCH":
            return self._patches(path, request)
        if path in self.objects:
            return 200, self.objects[path]
        kind = path.rpartition("/")[2]
        if kind in ("replicasets", "horizontalpodautoscalers"):
            return 200, {"items": [one for key, one in self.objects.items() if self._listed(key, one, path, query)]}
        return status(404, "NotFound", f'{path.split("/")[-2]} "{kind}" not found')

    def _listed(self, key: str, one: Object, path: str, query: dict[str, str]) -> bool:
        labels = one["metadata"].get("labels", {})
        wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
        return key.startswith(f"{path}/") and wanted.items() <= labels.items()

    def _patches(self, path: str, request: Request) -> Answered:
        target = path.removesuffix("/scale")
        if target not in self.objects:
            return status(404, "NotFound", f"{target} not found")
        if self.raced:
            self.raced = False
            self.keeps(target, self.objects[target])
        old, body = self.objects[target], json.loads(request.body)
        match request.headers["content-type"]:
            case "application/merge-patch+json":
                new = merged(old, body, by_name=False)
            case "application/strategic-merge-patch+json":
                new = merged(old, body, by_name=True)
            case "application/json-patch+json":
                new = json_patched(old, body)
            case other:
                return status(415, "UnsupportedMediaType", f"{other} is not supported")
        if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            return status(409, "Conflict", "the object has been modified; please apply your changes to the latest")
        if path != target:
            new = {**old, "spec": {**old["spec"], "replicas": new["spec"]["replicas"]}}
        if old.get("immutable"):
            return status(422, "Invalid", "field is immutable when `immutable` is set")
        self.keeps(target, new)
        if "/deployments/" in target and new["spec"] != old["spec"]:
            self._rolls(target)
        return 200, self.objects[target]

    def _evicts(self, path: str, body: Object) -> Answered:
        pod = path.removesuffix("/eviction")
        if body.get("kind") != "Eviction" or pod not in self.objects:
            return status(404, "NotFound", f"{pod} not found")
        if pod in self.protected:
            return status(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        if body["deleteOptions"]["preconditions"]["uid"] != self.objects[pod]["metadata"]["uid"]:
            return status(409, "Conflict", "the UID in the precondition does not match")
        del self.objects[pod]
        return 201, {"kind": "Status", "status": "Success"}

    def _rolls(self, path: str) -> None:
        """What the deployment controller does with a new spec: the template's ReplicaSet gets the newest revision."""
        found = self.objects[path]
        found["metadata"]["generation"] = found["metadata"].get("generation", 0) + 1
        mark = hashlib.sha256(json.dumps(found["spec"]["template"], sort_keys=True).encode()).hexdigest()[:8]
        name = f"{found['metadata']['name']}-{mark}"
        sets = [one for key, one in self.objects.items() if self._owned(key, one, found)]
        newest = max((int(one["metadata"]["annotations"][REVISION]) for one in sets), default=0)
        known = self.objects.get(f"{APPS}/replicasets/{name}")
        if known is None or int(known["metadata"]["annotations"][REVISION]) < newest:
            self.keeps(f"{APPS}/replicasets/{name}", self._replica_set(name, mark, found, newest + 1))
            newest += 1
        found["metadata"].setdefault("annotations", {})[REVISION] = str(newest)

    def _owned(self, key: str, one: Object, deployment: Object) -> bool:
        owners = one["metadata"].get("ownerReferences", [])
        return "/replicasets/" in key and any(owner["uid"] == deployment["metadata"]["uid"] for owner in owners)

    def _replica_set(self, name: str, mark: str, deployment: Object, revision: int) -> Object:
        template = copy.deepcopy(deployment["spec"]["template"])
        template["metadata"]["labels"]["pod-template-hash"] = mark
        metadata = {
            "name": name,
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [{"uid": deployment["metadata"]["uid"], "controller": True}],
        }
        return {"metadata": metadata, "spec": {"template": template}}


def status(code: int, reason: str, message: str) -> Answered:
    return code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}


def merged(old: Any, patch: Any, *, by_name: bool) -> Any:
    """A JSON merge patch (RFC 7386); `by_name`: containers are merged by their name, as a strategic one does."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, said in patch.items():
        if said is None:
            new.pop(key, None)
        elif by_name and key == "containers":
            named = {one["name"]: one for one in new.get(key, [])}
            for one in said:
                named[one["name"]] = merged(named.get(one["name"]), one, by_name=True)
            new[key] = list(named.values())
        else:
            new[key] = merged(new.get(key), said, by_name=by_name)
            if new[key] == {}:
                del new[key]  # as the server's types leave empty maps out
    return new


def json_patched(old: Object, patch: list[Object]) -> Object:
    """A JSON patch (RFC 6902) of `add` and `replace`."""
    new = copy.deepcopy(old)
    for one in patch:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:])
        found = new
        for parent in parents:
            found = found[parent]
        found[last] = one["value"]
    return new
