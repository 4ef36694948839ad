"""A Langfuse on loopback: prompts, versions and labels. Source: https://api.reference.langfuse.com (prompts)."""

import base64
import json
from typing import Any
from urllib.parse import unquote

from tests.support.receivers import Request
from tests.support.vendor import Answered, Vendor

PUBLIC, SECRET = "pk-lf-1", "sk-lf-1"


class FakeLangfuse(Vendor):
    """`prompts`: name → version → its labels. A label is on one version at a time; `latest` is Langfuse's own."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.prompts: dict[str, dict[int, list[str]]] = {}

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        login = base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return 401, {"message": "Invalid credentials. Confirm that you've configured the correct host."}
        match request.method, path.removeprefix("/api/public/v2/prompts").split("/")[1:]:
            case "GET", []:
                found = [name for name in self.prompts if query.get("name") in (None, name)]
                return 200, {"data": [{"name": name, "versions": list(self.prompts[name])} for name in found]}
            case "GET", [name]:
                return self._labelled(unquote(name), query.get("label", "production"))
            case "PATCH", [name, "versions", version]:
                return self._moves(unquote(name), int(version), json.loads(request.body)["newLabels"])
        return 404, {"message": "Not Found"}

    def _labelled(self, name: str, label: str) -> Answered:
        for version, labels in self.prompts.get(name, {}).items():
            if label in labels:
                return 200, {"name": name, "version": version, "labels": labels, "prompt": "…", "type": "text"}
        return not_found(name)

    def _moves(self, name: str, version: int, labels: list[str]) -> Answered:
        if version not in self.prompts.get(name, {}):
            return not_found(name)
        for had in self.prompts[name].values():
            had[:] = [label for label in had if label not in labels]
        self.prompts[name][version] += labels
        return 200, {"name": name, "version": version, "labels": self.prompts[name][version]}


def not_found(name: str) -> Answered:
    return 404, {"message": f"Prompt not found: '{name}'", "error": "LangfuseNotFoundError"}
