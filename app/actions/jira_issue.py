"""An issue in Jira Cloud about the incident.

Source of the API: https://developer.atlassian.com/cloud/jira/platform/rest/v3/ (issues, issue search) and
https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ for the text.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import quote, urlencode

from pydantic import Field, StringConstraints

from app.actions.api import answered
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.telling import Subject, Text
from app.automation import Jira
from app.channels.base import plain
from app.domain.digging import dug, listed
from app.domain.enrichment import cut
from app.domain.record import Record
from app.net.http import Http

INDEXED = timedelta(seconds=30)
"""After a lost answer: Jira's search finds a new issue only after a while (chosen)."""
ProjectKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{1,254}$")]
TypeName = Annotated[str, StringConstraints(min_length=1, max_length=60)]
Label = Annotated[str, StringConstraints(pattern=r"^\S{1,255}$")]


@dataclass(frozen=True)
class JiraIssue(Plain):
    """It carries the label `incident-<id>`, by which the second try, step or run finds it instead of opening another.

    Jira's search is some seconds behind: two runs at the same moment may open two. Whose answer was lost is found, but
    not taken for opened here.

    `project`: its key, none = the one of the settings. `issue_type`: its name there. `title`: up to 150 characters,
    none = severity and title of the incident. `text`: up to 3,000 characters; a link to the incident follows. `labels`:
    up to 10 more, without blanks. Undoing moves it to a status of the category done, if it was opened here.
    """

    http: Http
    own: Jira
    link: Callable[[str], str | None]

    class Parameters(Record):
        project: ProjectKey | None = None
        issue_type: TypeName = "Task"
        title: Subject | None = None
        text: Text
        labels: tuple[Label, ...] = Field((), max_length=10)

    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        own = tools.settings.playbooks.jira
        return cls(tools.http.named("jira"), own, tools.link) if own.url and own.email and own.api_token else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        project = self._project(asked)
        types = listed(dug(await self._asked("GET", f"project/{project}", at), "issueTypes"))
        names = [str(dug(one, "name")) for one in types]
        if asked.issue_type not in names:
            raise Failed(f"{project} has no issue type {asked.issue_type!r}, only {', '.join(names)}")
        found = await self._found(project, at)
        return f"nothing: {found} is there already" if found else f"open a {asked.issue_type} in {project}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        project = self._project(asked)
        if found := await self._found(project, at):
            return self._done(found, "was there already", opened=False)
        incident, link = at.incident, self.link(at.incident.id)
        fields = {
            "project": {"key": project},
            "issuetype": {"name": asked.issue_type},
            "summary": asked.title or f"[{incident.severity}] {cut(plain(incident.title), 200)}",
            "description": document(*asked.text.split("\n"), f"Incident {link or incident.id}"),
            "labels": [label(at), *asked.labels],
        }
        try:
            opened = await self._asked("POST", "issue", at, {"fields": fields})
        except Failed as no:
            if not no.doubtful:
                raise
            raise Failed(no.message, max(no.retry_after or INDEXED, INDEXED), doubtful=True) from no
        if not isinstance(key := dug(opened, "key"), str):
            raise Failed("Jira's answer names no issue", doubtful=True)
        return self._done(key, "is open", opened=True)

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        key = done.output["key"]
        issue = await self._asked("GET", f"issue/{quote(str(key))}?fields=status", at)
        return f"{key} is {dug(issue, 'fields', 'status', 'name')}"

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        """Jira knows no closing but by the transitions that the project's workflow has from where the issue is."""
        if not done.output.get("opened"):
            return Done(summary="nothing was opened")
        path = f"issue/{quote(str(done.output['key']))}"
        issue = await self._asked("GET", f"{path}?fields=status", at)
        if category(dug(issue, "fields", "status")) == "done":
            return Done(summary=f"{done.output['key']} is {dug(issue, 'fields', 'status', 'name')}")
        ways = listed(dug(await self._asked("GET", f"{path}/transitions", at), "transitions"))
        way = next((one for one in ways if category(dug(one, "to")) == "done"), None)
        if way is None:
            raise Failed(f"no transition leads {done.output['key']} to a status of the category done")
        await self._asked("POST", f"{path}/transitions", at, {"transition": {"id": dug(way, "id")}})
        return Done(summary=f"{done.output['key']} is {dug(way, 'to', 'name')}")

    def _done(self, key: str, how: str, *, opened: bool) -> Done:
        said = {"key": key, "url": f"{self.own.url}/browse/{quote(key)}", "opened": opened}
        return Done(summary=f"{key} {how}", output=said)

    def _project(self, asked: Parameters) -> str:
        project = asked.project or self.own.project
        if project is None:
            raise Failed("name a project, or set playbooks.jira.project")
        return quote(project, safe="")

    async def _found(self, project: str, at: Situation) -> str | None:
        """The key of the oldest issue with the incident's label."""
        jql = f'project = "{project}" AND labels = "{label(at)}" ORDER BY created ASC'
        asks = urlencode({"jql": jql, "fields": "status", "maxResults": 1})
        key = dug(await self._asked("GET", f"search/jql?{asks}", at), "issues", 0, "key")
        return key if isinstance(key, str) else None

    async def _asked(self, method: str, path: str, at: Situation, body: object = None) -> Any:
        token = self.own.api_token.get_secret_value() if self.own.api_token else ""
        login = base64.b64encode(f"{self.own.email}:{token}".encode()).decode()
        headers = {"authorization": f"Basic {login}", "accept": "application/json"}
        return await answered(self.http, method, f"{self.own.url}/rest/api/3/{path}", headers, at, body)


def label(at: Situation) -> str:
    return f"incident-{at.incident.id}"


def document(*lines: str) -> dict[str, object]:
    """Paragraphs, in Atlassian's document format, which takes no empty text."""
    paragraphs = [
        {"type": "paragraph", "content": [{"type": "text", "text": line}] if line.strip() else []} for line in lines
    ]
    return {"type": "doc", "version": 1, "content": paragraphs}


def category(status: object) -> object:
    return dug(status, "statusCategory", "key")
