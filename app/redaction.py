"""Personal data and keys, taken out of texts: of what comes in before it is kept, of what goes out to others.

Every pattern is bounded, so that a text takes time in proportion to its length, whatever it is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from phonenumbers import PhoneNumberMatcher
from stdnum import luhn

from app.intake import Detector
from app.telemetry.logs import HIDDEN, SECRET_NAME, redacted

Span = tuple[int, int]
PASSES = 8
"""What stands beside something of another kind that was replaced may only then be recognised; so often it is looked
at again."""
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
NATIONAL = re.compile(r"(?<![\w.:+\-/])[+(]?[0-9][0-9 ().\-/\u00a0]{5,74}[0-9](?![\w:-])")
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
class Redactor:
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

    def texts(self, value: Any, asked: "count[int] | None" = None) -> Any:
        """The same of every text and name within a JSON value."""
        tries = asked or count()
        if isinstance(value, str):
            return self.text(value, tries)
        if isinstance(value, list | tuple):
            return [self.texts(inner, tries) for inner in value]
        if isinstance(value, Mapping):
            return {self.text(str(name), tries): self.texts(inner, tries) for name, inner in value.items()}
        return value

    def _once(self, said: str, tries: "count[int]") -> str:
        if Detector.KEY in self.detectors:
            for hints, pattern in KEYS:
                if any(hint in said for hint in hints):
                    said = _swept(said, pattern, "[key]", _whole)
        if Detector.EMAIL in self.detectors and ("@" in said or "%40" in said):
            said = _swept(said, EMAIL, "[e-mail]", _whole)
        if Detector.CARD in self.detectors:
            said = _swept(said, CARD, "[card]", _card)
        if Detector.PHONE in self.detectors:
            possible = NATIONAL if self.region else INTERNATIONAL
            said = _swept(said, possible, "[phone]", lambda found: self._phone(found, tries))
        return said

    def _phone(self, found: re.Match[str], tries: "count[int]") -> list[Span]:
        if ADDRESS.fullmatch(found[0]):
            return []
        if next(tries) >= MOST_ASKED:
            return [found.span()]
        began = found.start()
        return [(began + number.start, began + number.end) for number in PhoneNumberMatcher(found[0], self.region)]


@dataclass(frozen=True)
class Outgoing(Redactor):
    """Of what is sent to others: as logs are, it is also without what is called a password, a token and the like."""

    def text(self, said: str, asked: "count[int] | None" = None) -> str:
        return super().text(redacted(said), asked)

    def texts(self, value: Any, asked: "count[int] | None" = None) -> Any:
        tries = asked or count()
        if isinstance(value, Mapping):
            hidden = {name: HIDDEN if _secret(name, inner) else inner for name, inner in value.items()}
            return super().texts(hidden, tries)
        return super().texts(value, tries)


def _secret(name: object, value: object) -> bool:
    return isinstance(value, str) and SECRET_NAME.search(str(name)) is not None


def _swept(said: str, pattern: re.Pattern[str], mark: str, parts: Callable[[re.Match[str]], list[Span]]) -> str:
    """With the mark in place of these parts of every match; another match may begin right behind a part."""
    done, at = "", 0
    while found := pattern.search(said, at):
        left = 0
        for start, end in parts(found):
            done, left = f"{done}{said[left:start]}{mark}", end
        said, at = (said[left:], 0) if left else (said, found.end())
    return done + said


def _whole(found: re.Match[str]) -> list[Span]:
    return [found.span()]


def _card(found: re.Match[str]) -> list[Span]:
    """Where a card's number is, which may be followed by more figures after a blank."""
    said = found[0]
    for end in (len(said), *(gap.start() for gap in reversed([*re.finditer("[ -]", said)]))):
        number = said[:end].replace(" ", "").replace("-", "")
        if ISSUED.fullmatch(number) and luhn.is_valid(number):
            return [(found.start(), found.start() + end)]
    return []


ALL_OUT = Outgoing()
"""As the settings have it by default."""
