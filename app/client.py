"""The command line's words: answers of the REST API as text for people, and what they type as the API takes it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.ml.features import Labelled

BATCH_BYTES, BATCH = 500_000, 1000
READ, LABELS_READ, LABEL_READ = 500, 32, 200  # more than a model reads of a text, of labels, of a label


class Failed(Exception):
    """The request did not succeed. The message is one line."""


def plain(text: object) -> str:
    """Titles come from outside: nothing in them may steer the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def table(incidents: list[Mapping[str, Any]], total: int) -> str:
    """One line per incident."""
    if not incidents:
        return "No incidents."
    lines = [
        f"{one['id']}  {one['severity']}  {one['status']:<12}  {one['created_at'][:19]}Z  {plain(one['title'])[:80]}"
        for one in incidents
    ]
    return "\n".join([*lines, f"{len(incidents)} of {total}"])


def card(incident: Mapping[str, Any]) -> str:
    """One incident, a field per line; empty ones left out."""
    shown = {name: value for name, value in incident.items() if value not in (None, "", [], {}) and name != "state"}
    width = max(map(len, shown))
    return "\n".join(f"{name:<{width}}  {_value(value)}" for name, value in shown.items())


def happening(heard: Mapping[str, Any]) -> str:
    """One line: when, whose, what, by whom."""
    event, incident = heard["event"], heard["incident"]
    said = f"{event['event_type']} by {event['actor']['name']}" + (f": {event['reason']}" if event["reason"] else "")
    return plain(
        f"{event['timestamp'][:19]}Z  {incident['severity']}  {incident['status']:<12}  {incident['id']}  "
        f"{said[:120]}  [{incident['title'][:80]}]"
    )


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


def timeline(simulated: Mapping[str, Any]) -> str:
    """One line per event of a simulation."""
    lines = [f"{_elapsed(one['after_secs'])}  {one['event']:<20}  {_event(one)}" for one in simulated["timeline"]]
    if not simulated["applies"]:
        lines.append(f"Its conditions don't hold here: {simulated['chosen'] or 'no policy'} would be taken.")
    return "\n".join([*lines, *(["… and so on."] if simulated["truncated"] else [])])


def _elapsed(secs: float) -> str:
    minutes, seconds = divmod(round(secs), 60)
    return f"+{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


def _event(one: Mapping[str, Any]) -> str:
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


def diagnosis(linted: Mapping[str, Any]) -> str:
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
