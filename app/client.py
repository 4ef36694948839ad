"""The command line's side of the REST API: one request, its answer, and both as text for people."""

import json
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from app.ml.features import Labelled

TIMEOUT = 35  # seconds: a little more than the gateway takes at most
BATCH_BYTES, BATCH = 500_000, 1000
READ, LABELS_READ, LABEL_READ = 500, 32, 200  # more than a model reads of a text, of labels, of a label


class Failed(Exception):
    """The request did not succeed. The message is one line."""


class Answer(NamedTuple):
    status: int
    body: Any


class Client(NamedTuple):
    """`endpoint` is the gateway's base address, like http://localhost:8080."""

    endpoint: str
    api_key: str | None = None

    def get(self, *path: str, **query: str | int) -> Any:
        """Raises: Failed."""
        return self._granted(self.send("GET", path, query=query))

    def post(self, *path: str, body: Mapping[str, object]) -> Any:
        """Raises: Failed."""
        return self._granted(self.send("POST", path, body))

    def send(
        self, method: str, path: tuple[str, ...], body: Mapping[str, object] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Answer:  # fmt: skip
        """Raises: Failed when there is no answer, or none in JSON."""
        url = urlsplit(self.endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Failed(f"{self.endpoint!r} is no address of a server; it looks like http://localhost:8080")
        target = "/".join([url.path.rstrip("/"), *(quote(part, safe="") for part in path)])
        if query:
            target += f"?{urlencode(query)}"
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.api_key:
            headers["X-API-Key"] = self.api_key
        try:
            connection = (HTTPSConnection if url.scheme == "https" else HTTPConnection)(
                url.hostname, url.port, timeout=TIMEOUT
            )
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
            connection.close()
        except (OSError, HTTPException, ValueError) as silence:
            raise Failed(f"{self.endpoint} does not answer ({silence}); is the server running?") from silence
        try:
            return Answer(response.status, json.loads(raw))
        except ValueError as no:
            raise Failed(f"{self.endpoint} answered {response.status} without JSON; is it this service?") from no

    def _granted(self, answer: Answer) -> Any:
        if answer.status < 300:
            return answer.body
        said = answer.body.get("error") if isinstance(answer.body, dict) else None
        if isinstance(said, dict):
            raise Failed(f"{said.get('code')}: {said.get('message')}")
        raise Failed(f"{self.endpoint} answered {answer.status}; is it this service?")


def plain(text: object) -> str:
    """Titles come from outside: nothing in them may steer the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def table(incidents: list[dict[str, Any]], total: int) -> str:
    """One line per incident."""
    if not incidents:
        return "No incidents."
    lines = [
        f"{one['id']}  {one['severity']}  {one['status']:<12}  {one['created_at'][:19]}Z  {plain(one['title'])[:80]}"
        for one in incidents
    ]
    return "\n".join([*lines, f"{len(incidents)} of {total}"])


def card(incident: dict[str, Any]) -> str:
    """One incident, a field per line; empty ones left out."""
    shown = {name: value for name, value in incident.items() if value not in (None, "", [], {}) and name != "state"}
    width = max(map(len, shown))
    return "\n".join(f"{name:<{width}}  {_value(value)}" for name, value in shown.items())


def _value(value: object) -> str:
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def assumption(said: str) -> dict[str, object]:
    """`120:ack=alice` as the server takes it. Raises: Failed."""
    when, _, what = said.partition(":")
    deed, _, who = what.partition("=")
    try:
        return {"after_secs": float(when), deed: int(who) if who.isdecimal() else who or True}
    except ValueError:
        raise Failed(f"--assume {said!r}: must look like 120:ack=alice") from None


def timeline(simulated: dict[str, Any]) -> str:
    """One line per event of a simulation."""
    lines = [f"{_elapsed(one['after_secs'])}  {one['event']:<20}  {_event(one)}" for one in simulated["timeline"]]
    if not simulated["applies"]:
        lines.append(f"Its conditions don't hold here: {simulated['chosen'] or 'no policy'} would be taken.")
    return "\n".join([*lines, *(["… and so on."] if simulated["truncated"] else [])])


def _elapsed(secs: float) -> str:
    minutes, seconds = divmod(round(secs), 60)
    return f"+{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


def _event(one: dict[str, Any]) -> str:
    data = one["data"]
    match one["event"]:
        case "notification_sent" | "notification_failed":
            why = f" ({data['reason']})" if data.get("reason") else ""
            return plain(f"{data['message']} to {data['target']} by {data['channel']}{why}")
        case "paged":
            later = [f"{whom} at {at}" for whom, at in data["later"].items()]
            return plain(f"level {data['level']} {data['name']}: {', '.join([*data['told'], *later])}")
        case "failover":
            return plain(f"{data['target']}: {data['to']} instead of {data['channel']}, {data['reason']}")
    shown = {name: value for name, value in data.items() if value not in (None, "", [], {})}
    return plain(", ".join([*(f"{name} {value}" for name, value in shown.items()), f"by {one['actor']}"]))


def diagnosis(linted: dict[str, Any]) -> str:
    """One line per finding."""
    lines = [
        plain(f"{one['level']:<7}  {one['kind']} {one['id']} {one['field']}".rstrip() + f": {one['message']}")
        for one in linted["findings"]
    ]
    return "\n".join([*lines, f"{linted['errors']} errors, {linted['warnings']} warnings"])


def lessons(rules: "Iterable[Labelled]") -> Iterator[list[dict[str, object]]]:
    """Rules as the server takes them, cut to what a model reads of them, in batches that it lets in."""
    batch: list[dict[str, object]] = []
    size = 0
    for rule in rules:
        lesson = _lesson(rule)
        length = len(json.dumps(lesson))
        if batch and (size + length > BATCH_BYTES or len(batch) == BATCH):
            yield batch
            batch, size = [], 0
        batch.append(lesson)
        size += length
    if batch:
        yield batch


def _lesson(rule: "Labelled") -> dict[str, object]:
    from app.domain.decode import printable

    said = rule.example
    texts = {"title": said.title, "description": said.description, "source": said.source, "expr": said.expr}
    return {name: printable(text)[:READ] for name, text in texts.items()} | {
        "service": [printable(name)[:LABEL_READ] for name in said.service if name],
        "labels": {
            printable(name)[:LABEL_READ]: printable(said.labels[name])[:LABEL_READ]
            for name in sorted(said.labels)[:LABELS_READ] if name
        },
        "path": printable(rule.path or "")[:READ], "severity": rule.severity,
    }  # fmt: skip
