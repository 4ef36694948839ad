"""A Jira Cloud on loopback: one project OPS, as its REST API version 3 says."""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.github import says
from tests.support.receivers import HttpReceiver, Reply, Request

LOGIN = ("pager@example.com", "token-1")
STATUSES = {"To Do": "new", "In Progress": "indeterminate", "Done": "done"}


def status(name: str) -> dict[str, Any]:
    return {"name": name, "statusCategory": {"key": STATUSES[name]}}


@dataclass
class FakeJira(HttpReceiver):
    """`ways`: where its workflow leads; `forgets`: so many issues are opened, and a 503 is what is answered."""

    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    ways: tuple[str, ...] = ("In Progress", "Done")
    forgets: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> Reply:
        known = base64.b64encode(":".join(LOGIN).encode()).decode()
        if request.headers.get("authorization") != f"Basic {known}":
            return says({"errorMessages": ["Client must be authenticated to access this resource."]}, 401)
        address, body = urlsplit(request.path), json.loads(request.body or b"{}")
        path = address.path.removeprefix("/rest/api/3/")
        if path == "project/OPS":
            return says({"key": "OPS", "issueTypes": [{"name": "Task"}, {"name": "Bug"}]})
        if path == "search/jql":
            label = re.search(r'labels = "([^"]+)"', parse_qs(address.query)["jql"][0])
            assert label is not None
            keys = [key for key, one in self.issues.items() if label[1] in one["labels"]]
            return says({"issues": [{"key": key} for key in keys], "isLast": True})
        if path == "issue":
            return self.open(body["fields"])
        if path.startswith("issue/") and path.split("/")[1] in self.issues:
            return self.of_issue(self.issues[path.split("/")[1]], path, body)
        return says({"errorMessages": [f"No {path} could be found."]}, 404)

    def open(self, fields: dict[str, Any]) -> Reply:
        if fields["project"]["key"] != "OPS" or fields["description"]["type"] != "doc" or "\n" in fields["summary"]:
            return says({"errors": {"project": "valid project is required"}}, 400)
        if any(text.get("text") == "" for one in fields["description"]["content"] for text in one["content"]):
            return says({"errorMessages": ["INVALID_INPUT"]}, 400)
        key = f"OPS-{len(self.issues) + 1}"
        self.issues[key] = fields | {"status": "To Do"}
        if self.forgets:
            self.forgets -= 1
            return says({"errorMessages": ["try again"]}, 503)
        return says({"id": "1", "key": key, "self": f"{self.base}/rest/api/3/issue/1"}, 201)

    def of_issue(self, issue: dict[str, Any], path: str, body: dict[str, Any]) -> Reply:
        if not path.endswith("/transitions"):
            return says({"key": path.split("/")[1], "fields": {"status": status(issue["status"])}})
        if not body:
            ways = [{"id": str(n), "name": f"to {name}", "to": status(name)} for n, name in enumerate(self.ways)]
            return says({"transitions": ways})
        issue["status"] = self.ways[int(body["transition"]["id"])]
        return Reply(204)
