"""Personal data, keys and prompts, taken out before anything is kept: what comes in is stored and sent without them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from app.domain.alert import TEXT_MAX, TITLE_MAX, Alert, ChangeEvent, Event
from app.domain.enrichment import SUMMARY_MAX, Found
from app.domain.inbound import Sample
from app.intake import Detector
from app.redaction import Redactor
from app.sources.base import pseudonym
from app.sources.text import NAME_MAX, OUT, VALUE_MAX, cut, is_content, says, without_content


@dataclass(frozen=True)
class Redaction(Redactor):
    """Of what comes in."""

    def alert(self, alert: Alert) -> Alert:
        """The alert as it may be kept. What a source names its problem by stays as telling, as a pseudonym."""
        flat = (
            alert.title, alert.description, alert.impact or "", alert.identity or "", alert.delivery or "",
            alert.external_id or "", alert.runbook_url or "", *alert.affected_services,
            *alert.labels, *alert.labels.values(), *alert.annotations, *alert.annotations.values(),
        )  # fmt: skip
        changes: dict[str, Any] = {}
        tries = count()
        if self.suspicious("\0".join(flat)):
            changes = self._flat(alert, tries)
        elif Detector.CONTENT in self.detectors and any(map(is_content, alert.annotations)):
            changes["annotations"] = self._labels(alert.annotations, tries, content=True)
        if alert.resource is not None:
            changes["resource"] = self._within(alert.resource, tries)
        if alert.event is not None:
            changes["event"] = self._event(alert.event, tries)
        return alert.model_copy(update=changes) if changes else alert

    def change(self, change: ChangeEvent) -> ChangeEvent:
        """The change as it may be kept."""
        tries = count()
        return change.model_copy(
            update={
                "summary": cut(self.text(change.summary, tries), 1024),
                "author": change.author and cut(self.text(change.author, tries), 255),
                "services": tuple(cut(self.text(name, tries), 255) for name in change.services),
                "details": self._within(change.details, tries),
                "links": tuple(self._within(link, tries) for link in change.links),
            }
        )

    def sample(self, sample: Sample) -> Sample:
        """Telemetry, with pseudonyms for what in its subject is somebody or some key."""
        if not self.suspicious("\0".join((*sample.subject.values(), sample.service or ""))):
            return sample
        return sample.model_copy(
            update={
                "subject": {name: self.name(of) for name, of in sample.subject.items()},
                "service": sample.service and self.name(sample.service),
            }
        )

    def found(self, found: Found) -> Found:
        """What others have said of an incident, as it may be kept."""
        tries = count()
        summary = cut(self.text(found.summary, tries), SUMMARY_MAX)
        return found.model_copy(update={"summary": summary, "data": self._within(found.data, tries)})

    def name(self, said: str, asked: "count[int] | None" = None) -> str:
        """What something is called: itself, or a pseudonym where it contains what may not be kept."""
        return said if self.text(said, asked) == said else pseudonym(said)

    def _flat(self, alert: Alert, tries: "count[int]") -> dict[str, Any]:
        said = {
            "title": cut(self.text(alert.title, tries), TITLE_MAX),
            "description": cut(self.text(alert.description, tries), TEXT_MAX),
            "impact": alert.impact and cut(self.text(alert.impact, tries), TEXT_MAX),
            "runbook_url": alert.runbook_url and cut(self.text(alert.runbook_url, tries), 2048),
            "affected_services": tuple(cut(self.text(name, tries), 255) for name in alert.affected_services),
            "labels": self._labels(alert.labels, tries),
            "annotations": self._labels(alert.annotations, tries, content=Detector.CONTENT in self.detectors),
        }
        named = {field: getattr(alert, field) for field in ("identity", "delivery", "external_id")}
        return said | {field: name and self.name(name, tries) for field, name in named.items()}

    def _labels(self, labels: Mapping[str, str], tries: "count[int]", *, content: bool = False) -> dict[str, str]:
        return {
            cut(self.text(name, tries), NAME_MAX):
            OUT if content and is_content(name) and says(value) else cut(self.text(value, tries), VALUE_MAX)
            for name, value in labels.items()
        }  # fmt: skip

    def _event(self, event: Event, tries: "count[int]") -> Event:
        ids = ("event_id", "correlation_id", "parent_event_id", "execution_id")
        named = {field: getattr(event, field) for field in ids}
        return event.model_copy(
            update={field: name and self.name(name, tries) for field, name in named.items()}
            | {field: self._within(getattr(event, field), tries) for field in ("resource", "metrics", "payload")}
            | {"tags": self._labels(event.tags, tries), "labels": tuple(self.text(one, tries) for one in event.labels)}
        )

    def _within(self, value: Any, tries: "count[int]") -> Any:
        """A JSON value."""
        return self.texts(without_content(value) if Detector.CONTENT in self.detectors else value, tries)


ALL_OUT = Redaction()
"""As the settings have it by default."""
