"""An e-mail as an alert: what every tool can send that can send nothing else.

Source: RFC 5322, RFC 2047 (subjects), RFC 3834 (Auto-Submitted). The words of subjects are those of Alertmanager,
Grafana, Nagios, Icinga, Zabbix, CloudWatch, Datadog, UptimeRobot and Pingdom.
"""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr
from html.parser import HTMLParser
from typing import NamedTuple

from app.domain.alert import TEXT_MAX, AlertStatus
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import SEVERITY_ALIASES, Severity
from app.sources.base import Post, Source, canonical, pseudonym
from app.sources.text import cut

KEY, ENVELOPE = "x-incident-key", "x-envelope-from"
SUBJECT_MAX = 2_000
"""It is taken apart word by word from its beginning, each time the whole of it."""
READ_BYTES = 1_048_576
"""As much of a mail is looked at: text comes before attachments."""
PARTS_MAX = 100
SURROGATE = re.compile("[\ud800-\udfff]")
ANSWERED = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|wg|tr)(?:\[\d+\])?\s*:\s*", re.IGNORECASE)
KEYED = re.compile(r"\[key:\s*([^\[\]]{1,200})\]", re.IGNORECASE)
ID = re.compile(r"<[^<>\s]{1,998}>")
WORD = re.compile(
    r"[\s*!#|\-–—:]{0,20}(?P<open>[\[(]?)\s{0,5}(?P<word>[A-Za-z]{2,12}|[Pp][0-4])(?::\d{1,6})?"
    r"(?P<end>\s?[:|\])]|\s[-–—]\s|\W|$)"
)
WORDIER = re.compile(r"^(?:Monitor is (\w{2,4})|(Resolved) in [^:]{1,20}|(UP|DOWN) alert): ")
"""UptimeRobot, Zabbix, Pingdom: a word with more around it."""
ENDING = re.compile(r"\s(?:is|are) (?:now )?(UP|DOWN|OK|CRITICAL|WARNING|UNKNOWN)\s{0,5}[*!.\])]{0,5}\s*$")
DOWN = re.compile(r"\bDOWN\b")
STATES = dict.fromkeys(
    ("firing", "problem", "triggered", "alarm", "alert", "alerting", "down", "open"), AlertStatus.FIRING
) | dict.fromkeys(
    ("resolved", "ok", "recovered", "recovery", "up", "closed", "cleared", "normal"), AlertStatus.RESOLVED
)
SEVERITIES = SEVERITY_ALIASES | {"fatal": Severity.P0, "urgent": Severity.P1, "unknown": Severity.P3}
TAG = re.compile(r"\s{0,5}\[[^\[\]]{1,60}\]\s{0,5}")
LOUD = frozenset({
    "FIRING", "PROBLEM", "TRIGGERED", "ALARM", "DOWN", "RESOLVED", "RECOVERED", "RECOVERY", "CLEARED", "CRITICAL",
    "FATAL", "EMERGENCY", "ERROR", "WARNING", "WARN", "INFO", "P0", "P1", "P2", "P3", "P4",
})  # fmt: skip
"""Those that are meant where they stand in capitals; "UP TO 5 SERVERS FAIL" must not end anything."""


class Said(NamedTuple):
    """What a subject says. A severity where it names one."""

    title: str
    status: AlertStatus
    severity: Severity | None
    key: str | None


def subject(text: str) -> Said:
    """A subject without answers' prefixes and without words for a state or a severity, and what those mean.

    Such a word counts at the beginning, where it is set off ([Resolved], Critical:, OK -) or in capitals and clear, and
    in capitals after a last "is". What is resolved is over, whatever the rest of the subject still says was wrong.
    """
    found = KEYED.search(text := cut(text, SUBJECT_MAX))
    text = KEYED.sub("", text)
    while answered := ANSWERED.match(text):
        text = text[answered.end() :]
    text = WORDIER.sub(lambda wordy: f"{wordy[1] or wordy[2] or wordy[3]}: ", text)
    status: AlertStatus | None = None
    severity, rest, tags = None, text, ""
    if (tagged := TAG.match(text)) and _state(text) is None and _state(text[tagged.end() :]):
        tags, rest = tagged[0], text[tagged.end() :]
    while word := _state(rest):
        name = word["word"].lower()
        status, severity = status or STATES.get(name), severity or SEVERITIES.get(name)
        rest = rest[word.end() - (word["end"].isspace()) :]
    if ending := ENDING.search(rest):
        name, rest = ending[1].lower(), rest[: ending.start()]
        over = status is AlertStatus.RESOLVED
        status, severity = status if over else STATES.get(name) or status, severity or SEVERITIES.get(name)
    title = " ".join((tags + rest).split()).strip("*-–—|: ") or " ".join(text.split())
    return Said(title, status or AlertStatus.FIRING, severity, found[1].strip() if found else None)


def _state(text: str) -> re.Match[str] | None:
    """The word for a state or a severity that a text begins with."""
    if (word := WORD.match(text)) is None:
        return None
    name, end = word["word"], word["end"].strip()
    known = name.lower() in STATES or name.lower() in SEVERITIES
    alone = not word["end"] or (end in (":", "|", "-", "–", "—") and word["end"] != "-")
    return word if known and (name in LOUD or (word["open"] and end in ("]", ")")) or alone) else None


def read(post: Post) -> Inbound:
    """One alert. What it is about: an X-Incident-Key, a `[key: …]` in the subject, its thread, or sender and subject.

    Raises: Invalid for what is no mail.
    """
    mail = parsed(post.body)
    sender = (parseaddr(header(mail, "From"))[1] or post.headers.get(ENVELOPE, "")).lower()
    said = subject(about := header(mail, "Subject"))
    if not sender or not mail.keys():
        raise Invalid.field("From", "must say whom it is from")
    text, attached = content(mail)
    title = said.title or cut(text.partition("\n")[0], 200) or "mail without a subject"
    key = post.headers.get(KEY) or header(mail, KEY) or said.key
    message_id = next(iter(ids(mail, "Message-ID")), None)
    shown = f"{title} is down" if said.status is AlertStatus.FIRING and DOWN.search(about) else title
    identity = key or pseudonym(next(iter(thread(mail)), f"{sender}\n{title.casefold()}"))
    alert = canonical(
        "email", shown, identity, severity=said.severity, status=said.status, description=text,
        labels={"domain": sender.rpartition("@")[2]}, notes={"sender": sender, "attachments": ", ".join(attached)},
        delivery=pseudonym(message_id) if message_id else None,
    )  # fmt: skip
    return Inbound(alerts=(alert,))


def parsed(raw: bytes) -> Message:
    """Raises: Invalid."""
    if raw[:READ_BYTES].lower().count(b"boundary=") > PARTS_MAX:  # each is looked for in each line
        raise Invalid.field("body", f"must not have more than {PARTS_MAX} parts that have parts")
    try:
        return message_from_bytes(raw[:READ_BYTES])
    except (MessageError, ValueError, LookupError, RecursionError, AttributeError, TypeError) as wrong:
        raise Invalid.field("body", f"is no mail: {type(wrong).__name__}") from None


def header(mail: Message, name: str) -> str:
    """A header as people read it; empty where it isn't there."""
    raw = str(mail.get(name, ""))
    try:
        return clean(str(make_header(decode_header(raw))))
    except (MessageError, ValueError, LookupError):
        return clean(raw)


def ids(mail: Message, *names: str) -> list[str]:
    """Message-IDs in headers, in order."""
    return [found for name in names for found in ID.findall(str(mail.get(name, "")))[:100]]


def thread(mail: Message) -> list[str]:
    """The mails that a mail goes on from, the first one first."""
    return ids(mail, "References", "In-Reply-To")


def refusal(mail: Message, domain: str) -> str | None:
    """Why a mail is no alert, or None: an automatic answer, our own, or an answer to one of ours.

    `domain`: what our own Message-IDs end in.
    """
    if header(mail, "Auto-Submitted").lower().startswith("auto-replied"):
        return "automatic answers are no alerts"
    if mail.get("X-Incident-Id") is not None:
        return "notifications of this service are no alerts"
    ours = re.compile(rf"<[0-9a-f]{{40}}@{re.escape(domain)}>")
    if any(ours.fullmatch(one) for one in ids(mail, "Message-ID", "In-Reply-To", "References")):
        return "nobody reads answers to notifications; take the incident by the link in them"
    return None


def content(mail: Message) -> tuple[str, list[str]]:
    """The text, and the names of what is attached."""
    plain, html, attached = "", "", list[str]()
    for number, part in zip(range(PARTS_MAX), mail.walk(), strict=False):
        name = _filename(part)
        if name or part.get_content_disposition() == "attachment":
            attached.append(name or f"part {number}")
        elif part.get_content_type() == "text/plain" and not plain:
            plain = _text(part)
        elif part.get_content_type() == "text/html" and not html:
            html = _text(part)
    return cut((plain.strip() or stripped(html)).strip(), TEXT_MAX), attached[:20]


def _filename(part: Message) -> str:
    try:
        return cut(clean(part.get_filename() or ""), 200)
    except (MessageError, ValueError, LookupError, TypeError):
        return "unnamed"


def _text(part: Message) -> str:
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    try:
        return clean(raw.decode(part.get_content_charset("utf-8"), "replace"))
    except (LookupError, ValueError):
        return clean(raw.decode("utf-8", "replace"))


def clean(text: str) -> str:
    return SURROGATE.sub("�", text).replace("\0", "")


class _Words(HTMLParser):
    """The text of HTML: blocks on lines of their own, nothing of scripts and styles."""

    BLOCKS = frozenset({"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "table", "ul", "ol", "pre", "hr"})
    UNSEEN = frozenset({"script", "style", "head", "title"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in self.UNSEEN
        if tag in self.BLOCKS:
            self.said.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in self.UNSEEN))
        if tag in self.BLOCKS:
            self.said.append("\n")
        elif tag == "td":
            self.said.append(" ")

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Of a declaration that nobody knows, which is no reason to stop, its end."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.rawdata.find(">", i) + 1 or -1

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.said.append(data)


def stripped(html: str) -> str:
    """HTML as text."""
    reader = _Words()
    reader.feed(html)
    reader.close()
    return "\n".join(_lines("".join(reader.said)))


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if words := " ".join(line.split()):
            yield words


SAYS = Source(read)
