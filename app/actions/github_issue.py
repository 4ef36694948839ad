"""An issue on GitHub about the incident.

Source of the API: https://docs.github.com/en/rest/issues/issues and
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import quote

from pydantic import Field, StringConstraints

from app.actions.api import decoded, refused, sent_json
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.telling import Subject, Text
from app.automation import GitHub
from app.channels.base import plain
from app.domain.digging import dug, listed
from app.domain.enrichment import cut
from app.domain.record import Record
from app.net.http import Answer, Http

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
"""After a refusal by a secondary limit that names no delay, as GitHub asks for."""
Repository = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$", max_length=200)]
Label = Annotated[str, StringConstraints(pattern=r"^[^,\s][^,]{0,49}$")]


@dataclass(frozen=True)
class GithubIssue(Plain):
    """It carries the label `incident-<id>`, by which the second try, step or run finds it instead of opening another.

    `repository`: owner/name, none = the one of the settings. `title`: up to 150 characters, none = severity and title
    of the incident. `text`: up to 3,000 characters; a link to the incident follows. `labels`: up to 10 more of up to 50
    characters. Undoing closes it as not planned, if it was opened here.
    """

    http: Http
    own: GitHub
    link: Callable[[str], str | None]

    class Parameters(Record):
        repository: Repository | None = None
        title: Subject | None = None
        text: Text
        labels: tuple[Label, ...] = Field((), max_length=10)

    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        own = tools.settings.playbooks.github
        return cls(tools.http.named("github"), own, tools.link) if own.token else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        where = self._repository(asked)
        repository = await self._asked("GET", f"/repos/{where}", at)
        if dug(repository, "has_issues") is False:
            raise Failed(f"{where} has its issues switched off")
        found = await self._found(where, at)
        return f"nothing: {where}#{found['number']} is there already" if found else f"open an issue in {where}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        where = self._repository(asked)
        if found := await self._found(where, at):
            return done(where, found, "was there already", opened=mark(at) in str(found.get("body")))
        incident = at.incident
        title = asked.title or f"[{incident.severity}] {cut(plain(incident.title), 200)}"
        link = self.link(incident.id)
        body = f"{asked.text}\n\nIncident {link or incident.id}\n\n{mark(at)}"
        opened = await self._asked(
            "POST", f"/repos/{where}/issues", at, {"title": title, "body": body, "labels": [label(at), *asked.labels]}
        )
        if not isinstance(dug(opened, "number"), int):
            raise Failed("GitHub's answer names no issue", doubtful=True)
        kept = label(at) in {dug(one, "name") for one in listed(dug(opened, "labels"))}
        # GitHub drops the labels of whoever may not push, without a word.
        how = "is open" if kept else "is open without its label, so that a second run will not find it"
        return done(where, opened, how, opened=True)

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        issue = await self._asked("GET", self._path(done), at)
        return f"{done.output['repository']}#{done.output['number']} is {dug(issue, 'state')}"

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        if not done.output.get("opened"):
            return Done(summary="nothing was opened")
        await self._asked("PATCH", self._path(done), at, {"state": "closed", "state_reason": "not_planned"})
        return Done(summary=f"closed {done.output['repository']}#{done.output['number']}")

    def _repository(self, asked: Parameters) -> str:
        where = asked.repository or self.own.repository
        if where is None:
            raise Failed("name a repository, or set playbooks.github.repository")
        return where

    @staticmethod
    def _path(done: Done) -> str:
        return f"/repos/{done.output['repository']}/issues/{done.output['number']}"

    async def _found(self, where: str, at: Situation) -> dict[str, Any] | None:
        """The issue with the incident's label. What the list has beside issues are pull requests."""
        path = f"/repos/{where}/issues?state=all&direction=asc&labels={quote(label(at))}"
        found = listed(await self._asked("GET", path, at))
        return next((one for one in found if isinstance(dug(one, "number"), int) and "pull_request" not in one), None)

    async def _asked(self, method: str, path: str, at: Situation, body: object = None) -> Any:
        token = self.own.token.get_secret_value() if self.own.token else ""
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
        }
        answer = await sent_json(self.http, method, f"{self.own.url}{path}", headers, body)
        if (delay := limited(answer, at.now)) is not None:
            raise Failed(f"GitHub's rate limit is used up: {plain(answer.text)[:200]}", delay)
        if not 200 <= answer.status < 300:
            raise refused(answer, at, method)
        return decoded(answer, method)


def label(at: Situation) -> str:
    return f"incident-{at.incident.id}"[:50]


def mark(at: Situation) -> str:
    """By which an issue is known as this step's, opened by a try whose answer was lost. GitHub doesn't show it."""
    return f"<!-- {sha256(at.key.encode('utf-8', 'replace')).hexdigest()[:32]} -->"


def done(where: str, issue: dict[str, Any], how: str, *, opened: bool) -> Done:
    number, url = issue["number"], dug(issue, "html_url")
    said = {"repository": where, "number": number, "url": url, "opened": opened}
    return Done(summary=f"{where}#{number} {how}", output=said)


def limited(answer: Answer, now: datetime) -> timedelta | None:
    """How long GitHub wants to be left alone, an hour at most; None when it isn't that. It says so by 403, too."""
    after, left = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-remaining")
    if answer.status not in (403, 429):
        return None
    if after.isdecimal():
        return min(timedelta(seconds=max(int(after), 1)), HOUR)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if left == "0" and reset.isdecimal() and len(reset) < 12:
        return min(max(datetime.fromtimestamp(int(reset), UTC) - now, timedelta(seconds=1)), HOUR)
    return MINUTE if answer.status == 429 or left == "0" or "secondary rate limit" in answer.text else None
