"""Posts of tools that a saved mapping understands (app/domain/mapping.py).

What can't be mapped becomes an alert that says so: of a body, or of one item of it.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jmespath.exceptions import JMESPathError
from jmespath.visitor import _Expression

from app.domain import mapping as domain
from app.domain.alert import Alert, AlertStatus, ChangeEvent
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.mapping import MappedKind
from app.domain.taxonomy import KINDS
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical, known_environment
from app.sources.expressions import STEPS_MAX, Bounded, Exhausted, compiled
from app.sources.mapped_signature import verifier
from app.sources.reports import moment
from app.sources.text import as_text, cut
from app.sources.unreadable import unreadable

BODY_MAX = 1024 * 1024
ITEMS_MAX = 1000
MILLIS = 1e11
"""Numbers above it are moments in milliseconds, not seconds: the year 5138."""
OVER = frozenset({"resolved", "ok", "recovered", "closed", "normal", "green", "up", "healthy", "cleared", "inactive"})


def checked(mapping: domain.Mapping, taken: frozenset[str] = frozenset()) -> None:
    """`taken` are the names that sources have. Raises: Invalid with the path of every expression that is none."""
    if mapping.id in taken:
        raise Invalid.field("id", f"{mapping.id!r} is the name of a source: call it something else")
    found = []
    for path, expression in mapping.expressions().items():
        try:
            compiled(expression)
        except ValueError as wrong:
            found.append({"field": path, "message": str(wrong)})
    if found:
        raise Invalid.fields(found[:20])


def source(mapping: domain.Mapping) -> Source:
    """What reads, and checks, the posts that a mapping is for."""
    return Source(
        lambda post: applied(mapping, post).inbound,
        verifier(mapping.signature) if mapping.signature else None,
        longest=BODY_MAX,
    )


class Applied(NamedTuple):
    """What a body is by a mapping. `faults`: by their paths, the expressions that could not be evaluated, and why."""

    inbound: Inbound
    dropped: int = 0
    faults: Mapping[str, str] = {}


def applied(mapping: domain.Mapping, post: Post) -> Applied:
    """One item that can't be mapped holds back no other: it is said by an alert. Raises: Invalid where none can."""
    if len(post.body) > BODY_MAX:
        raise Invalid.field("body", f"must have at most {BODY_MAX:,} bytes")
    reading = Reading(mapping)
    alerts: list[Alert] = []
    changes: list[ChangeEvent] = []
    dropped, items = 0, reading.items(post.json)
    for number, item in enumerate(items[: ITEMS_MAX + 1]):
        try:
            if number == ITEMS_MAX:
                raise Invalid.field("each", f"finds {len(items):,} items; only {ITEMS_MAX:,} were looked at")
            if reading.holds("drop", item):
                dropped += 1
            elif mapping.kind is MappedKind.CHANGE:
                changes.append(reading.change(item))
            else:
                alerts.append(reading.alert(item))
        except Invalid as why:
            if len(items) == 1:
                raise
            alerts.append(unreadable(mapping.id, Post(as_text(item).encode("utf-8", "replace"), post.at), why))
        except Exhausted:
            dear = Invalid(f"The expressions of the mapping took more than {STEPS_MAX:,} steps, at item {number}.")
            alerts.append(unreadable(mapping.id, post, dear))
            break
    return Applied(Inbound(alerts=tuple(alerts), changes=tuple(changes)), dropped, reading.faults)


class Reading:
    """What the expressions of one mapping find in one post."""

    def __init__(self, mapping: domain.Mapping) -> None:
        self.mapping = mapping
        self.expressions = mapping.expressions()
        self.interpreter = Bounded()
        self.faults: dict[str, str] = {}

    def find(self, path: str, item: object) -> Any:
        """What the expression at a path finds, or None. Raises: Exhausted."""
        expression = self.expressions.get(path)
        if expression is None:
            return None
        try:
            return self.interpreter.visit(compiled(expression), item)
        except RecursionError:
            raise Exhausted from None
        except (JMESPathError, ValueError, TypeError, ArithmeticError, AttributeError) as wrong:
            self.faults.setdefault(path, " ".join(str(wrong).split())[:300])
            return None

    def items(self, body: object) -> list[Any]:
        """What a body tells of. Raises: Invalid."""
        if self.mapping.each is None:
            return [body]
        try:
            found = self.find("each", body)
        except Exhausted:
            raise Invalid.field("each", f"takes more than {STEPS_MAX:,} steps") from None
        if isinstance(found, dict):
            return [found]
        if not isinstance(found, list):
            raise Invalid.field("each", "finds no list in the body")
        return found

    def holds(self, path: str, item: object) -> bool:
        """As JMESPath has it: false, null and what is empty do not."""
        return self.find(path, item) not in (None, False, "", [], {})

    def text(self, field: str, item: object) -> str:
        """What a field says, or its default."""
        return said(self.find(f"fields.{field}", item)) or str(getattr(self.mapping.defaults, field, None) or "")

    def title(self, item: object) -> str:
        """Raises: Invalid."""
        if title := " ".join(self.text("title", item).split()):
            return title
        raise Invalid.field("fields.title", "finds nothing")

    def alert(self, item: object) -> Alert:
        """Raises: Invalid, Exhausted."""
        title, service, kind = self.title(item), self.text("service", item), self.text("incident_class", item)
        many, identity = said(self.find("fields.occurrences", item)), self.text("identity", item)
        identity, severity, status = identity or f"{title}\n{service}", self.severity(item), self.status(item)
        starts_at, delivery = instant(self.find("fields.starts_at", item)), self.text("delivery", item)
        if starts_at is not None and not delivery:  # an episode that becomes worse is told of again
            delivery = "\n".join((identity, starts_at.isoformat(), status, severity or ""))
        return canonical(
            self.mapping.id, title, identity,
            incident_class=kind if kind in KINDS else None,
            severity=severity,
            status=status,
            description=self.text("description", item),
            service=service or None,
            environment=self.text("environment", item),
            labels={name: said(self.find(f"labels.{name}", item)) for name in self.mapping.labels}
            | ({"class": kind} if kind else {}),
            notes={"url": self.text("url", item)},
            occurrences=int(many) if many.isascii() and many.isdecimal() and len(many) < 9 else 1,
            delivery=delivery or None,
            starts_at=starts_at,
            ends_at=instant(self.find("fields.ends_at", item)),
            runbook_url=self.text("runbook_url", item) or None,
        )  # fmt: skip

    def change(self, item: object) -> ChangeEvent:
        """Raises: Invalid, Exhausted."""
        service, url = self.text("service", item), self.text("url", item)
        return ChangeEvent(
            source=self.mapping.id, summary=cut(self.title(item), 1024),
            at=instant(self.find("fields.starts_at", item)),
            services=(cut(service, 255),) if service else (),
            environment=known_environment(self.text("environment", item)),
            author=cut(self.text("author", item), 255) or None,
            details={name: cut(said(self.find(f"labels.{name}", item)), 4096) for name in self.mapping.labels},
            links=({"href": url[:2048]},) if url.startswith(("http://", "https://")) else (),
        )  # fmt: skip

    def severity(self, item: object) -> Severity | None:
        """By the lookup table, or by the words that all severities are known by."""
        word = said(self.find("fields.severity", item)).strip()
        known = self.mapping.lookups.severity.get(word.casefold())
        with suppress(ValueError):
            known = known or Severity(word)
        return known or self.mapping.defaults.severity

    def status(self, item: object) -> AlertStatus:
        if self.holds("resolved", item):
            return AlertStatus.RESOLVED
        word = said(self.find("fields.status", item)).strip().casefold()
        if word in self.mapping.lookups.status:
            return self.mapping.lookups.status[word]
        if word in OVER:
            return AlertStatus.RESOLVED
        return AlertStatus.FIRING if word else self.mapping.defaults.status or AlertStatus.FIRING


def said(value: object) -> str:
    """A value as the text that PostgreSQL can hold; "" for nothing."""
    if value is None or isinstance(value, _Expression):
        return ""
    return as_text(value).encode("utf-8", "replace").decode().replace("\0", "")


def instant(value: object) -> datetime | None:
    """The moment of a text, or of seconds or milliseconds since 1970; None for others."""
    if isinstance(value, str):
        with suppress(ValueError):
            return instant(float(value))
        return moment(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value > MILLIS else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
