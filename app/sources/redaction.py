"""Personal data, keys and prompts, taken out before anything is kept: what comes in is stored and sent without them.

Every pattern is bounded, so that a text takes time in proportion to its length, whatever it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from phonenumbers import PhoneNumberMatcher
from stdnum import luhn

from app.domain.alert import TEXT_MAX, TITLE_MAX, Alert, ChangeEvent, Event
from app.domain.inbound import Sample
from app.intake import Detector
from app.sources.base import pseudonym
from app.sources.text import NAME_MAX, OUT, VALUE_MAX, cut, is_content, says, without_content

PASSES = 4
"""What stands beside something that was replaced may only then be recognised; so often it is looked at again."""
MOST_ASKED = 20
"""Possible phone numbers of one alert that are looked up (50 µs each); all more are taken out unasked."""

EMAIL = re.compile(
    r"(?<![\w.+-])(?!git@)[\w.+-][\w.+'-]{0,63}(?:@|%40)(?:[\w-]{1,63}\.){1,10}[^\W\d_]{2,63}"
)  # fmt: skip
CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])")
ISSUED = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11,16}|35[0-9]{14,17}|6[0-9]{15,18}|5[0678][0-9]{14,17}"
)
"""Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay, Maestro: no moment since 1970 in figures."""
INTERNATIONAL = re.compile(r"(?<![\w+])\+[1-9][0-9 ().\-/\u00a0]{5,24}[0-9]")
NATIONAL = re.compile(r"(?<![\w.:+\-/])[+(]?[0-9][0-9 ().\-/\u00a0]{5,24}[0-9](?![\w:-])")
ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){2,3}")
DIGIT = "(?=[A-Za-z_-]{0,64}[0-9])"
KEYS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (hints, re.compile(pattern, re.DOTALL))
    for hints, pattern in (
        (("sk-", "pk-lf-"), rf"(?<![A-Za-z0-9])(?:sk|pk-lf)-{DIGIT}[\w-]{{16,}}"),  # OpenAI, Anthropic, LiteLLM …
        (("AKIA", "ASIA"), r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
        (("AIza",), r"(?<![A-Za-z0-9])AIza[\w-]{35}"),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,}"),
        (("github_pat_",), r"github_pat_\w{22,}"),
        (("xox", "xapp-"), r"(?<![A-Za-z0-9])(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}"),
        (("hf_",), r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}"),
        (
            ("gsk_", "xai-", "pplx-", "nvapi-", "lsv2_", "pcsk_", "glpat-"),  # Groq, xAI, Perplexity, NVIDIA …
            r"(?<![A-Za-z0-9])(?:gsk_|xai-|pplx-|nvapi-|lsv2_(?:pt|sk)_|pcsk_|glpat-)(?=[A-Za-z_-]{0,64}[0-9])[\w-]{20,}",
        ),
        (("k_live_", "k_test_"), r"(?<![A-Za-z0-9])[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        (("whsec_",), r"whsec_[\w+/=-]{16,}"),
        (("eyJ",), r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)*"),  # a JWT: its header and claims are objects
        (("PRIVATE KEY-",), r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"),
        (("earer ", "EARER "), rf"(?<=[Bb]earer |BEARER ){DIGIT}[\w.~+/-]{{16,}}=*"),
        (("im",), r"(?<![A-Za-z0-9])im[A-Za-z0-9]{30}(?![A-Za-z0-9])"),  # this service's own
    )
)
HINTS = tuple(hint for hints, _ in KEYS for hint in hints if hint != "im")
OURS = re.compile("im[A-Za-z0-9]{30}")
FIGURES = re.compile("[2-6][0-9 -]{12}")
"""What a search for finds fast, and any card's number contains."""


@dataclass(frozen=True)
class Redaction:
    """`region` (like DE) is whose phone numbers may lack the +49; none = only international ones are known as such."""

    detectors: frozenset[Detector] = frozenset(Detector)
    region: str | None = None

    def text(self, said: str, asked: "count[int] | None" = None) -> str:
        """The text, with what is found in it replaced by `[e-mail]`, `[phone]`, `[card]` or `[key]`. Twice is once."""
        tries = asked or count()
        for _ in range(PASSES):
            if not self.suspicious(said) or (again := self._once(said, tries)) == said:
                break
            said = again
        return said

    def suspicious(self, said: str) -> bool:
        """Whether it is worth a closer look: some microseconds for a usual alert."""
        wanted = self.detectors
        return (
            (Detector.EMAIL in wanted and ("@" in said or "%40" in said))
            or (Detector.KEY in wanted and (any(map(said.__contains__, HINTS)) or OURS.search(said) is not None))
            or (Detector.PHONE in wanted and ("+" in said if self.region is None else bool(NATIONAL.search(said))))
            or (Detector.CARD in wanted and FIGURES.search(said) is not None)
        )

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
        return self._texts(without_content(value) if Detector.CONTENT in self.detectors else value, tries)

    def _texts(self, value: Any, tries: "count[int]") -> Any:
        if isinstance(value, str):
            return self.text(value, tries)
        if isinstance(value, list | tuple):
            return [self._texts(inner, tries) for inner in value]
        if isinstance(value, Mapping):
            return {self.text(str(name), tries): self._texts(inner, tries) for name, inner in value.items()}
        return value

    def _once(self, said: str, tries: "count[int]") -> str:
        if Detector.KEY in self.detectors:
            for hints, pattern in KEYS:
                if any(hint in said for hint in hints):
                    said = pattern.sub("[key]", said)
        if Detector.EMAIL in self.detectors and ("@" in said or "%40" in said):
            said = EMAIL.sub("[e-mail]", said)
        if Detector.CARD in self.detectors:
            said = CARD.sub(_card, said)
        if Detector.PHONE in self.detectors:
            possible = NATIONAL if self.region else INTERNATIONAL
            said = possible.sub(lambda found: self._phone(found[0], tries), said)
        return said

    def _phone(self, said: str, tries: "count[int]") -> str:
        if ADDRESS.fullmatch(said):
            return said
        if next(tries) >= MOST_ASKED:
            return "[phone]"
        for found in PhoneNumberMatcher(said, self.region):
            return f"{said[: found.start]}[phone]{said[found.end :]}"
        return said


def _card(found: re.Match[str]) -> str:
    """A card's number, which may be followed by more figures after a blank."""
    said = found[0]
    for end in (len(said), *(gap.start() for gap in reversed([*re.finditer("[ -]", said)]))):
        number = said[:end].replace(" ", "").replace("-", "")
        if ISSUED.fullmatch(number) and luhn.is_valid(number):
            return f"[card]{said[end:]}"
    return said


ALL_OUT = Redaction()
"""As the settings have it by default."""
