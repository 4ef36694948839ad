"""A GitHub on loopback: the issues of one repository, as its REST API says."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.receivers import HttpReceiver, Reply, Request

TOKEN = "ghp_1"
REPOSITORY = "acme/chat"


def says(body: object, status: int = 200) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(body).encode())


@dataclass
class FakeGitHub(HttpReceiver):
    """`pushes`: the token may push; without that labels are dropped. `forgets`: so many issues are opened, and a 502
    is what is answered.
    """

    issues: list[dict[str, Any]] = field(default_factory=list)
    pushes: bool = True
    forgets: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return says({"message": "Bad credentials"}, 401)
        if b" " in request.path.encode() or "user-agent" not in request.headers:
            return says({"message": "Administrative rules"}, 403)
        address = urlsplit(request.path)
        if not address.path.startswith(f"/repos/{REPOSITORY}"):
            return says({"message": "Not Found"}, 404)
        path, body = address.path.removeprefix(f"/repos/{REPOSITORY}"), json.loads(request.body or b"{}")
        return self.of_repository(request, path, body, parse_qs(address.query))

    def of_repository(self, request: Request, path: str, body: dict[str, Any], asks: dict[str, list[str]]) -> Reply:
        if path == "":
            return says({"full_name": REPOSITORY, "has_issues": True})
        if path == "/issues" and request.body:
            return self.open(body)
        if path == "/issues":
            states = {"all": ("open", "closed")}.get(asks.get("state", ["open"])[0], ("open",))
            wanted = set(asks["labels"][0].split(","))
            return says([
                one for one in self.issues
                if one["state"] in states and wanted <= {label["name"] for label in one["labels"]}
            ])  # fmt: skip
        issue = next((one for one in self.issues if path == f"/issues/{one['number']}"), None)
        if issue is None:
            return says({"message": "Not Found"}, 404)
        issue |= body
        return says(issue)

    def open(self, body: dict[str, Any]) -> Reply:
        if not body.get("title"):
            return says({"message": "Validation Failed", "errors": [{"field": "title"}]}, 422)
        number = len(self.issues) + 1
        labels = [{"name": name} for name in body["labels"]] if self.pushes else []
        issue = {"number": number, "state": "open", "html_url": f"https://github.com/{REPOSITORY}/issues/{number}"}
        self.issues.append({**body, **issue, "labels": labels})
        if self.forgets:
            self.forgets -= 1
            return says({"message": "Server Error"}, 502)
        return says(self.issues[-1], 201)
