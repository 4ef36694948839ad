"""Text messages and every other service, through apprise: https://github.com/caronc/apprise/wiki.

A service is one URL of the settings, with `{to}` where the person's own address goes. apprise makes its own
connections: what it may reach is what the operator wrote there. Where a service keeps no key of a message, one that
did not answer within the deadline may get it twice, since the page is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote

from pydantic import SecretStr

from app.channels.base import plain
from app.channels.words import context, cut, facts, headline, lines, listed
from app.child import CannotStart
from app.config import Notifications
from app.domain.notification import Message, Receipt, Unasked, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import MessageKind, Severity
from app.net.breakers import Call, Calling, Open, unbroken
from app.net.http import Http
from app.net.slots import AT_ONCE, Busy, Slots
from app.telemetry.logs import HIDDEN, redacted

if TYPE_CHECKING:
    from apprise import AppriseResult, NotifyBase

SOON = timedelta(seconds=5)
BUSY = timedelta(seconds=1)
LATER = timedelta(seconds=10)
TITLE = 250
BODY_BYTES = 3800
"""As JSON: ntfy makes a file, without words, of 8,000 such bytes, title included, or of 4,096 of UTF-8."""
SMS = 320
"""Characters: two to five parts of a text message."""
LISTED = 50
TALKATIVE = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")
"""Their logs hold whole URLs, tokens included, at one level or another."""
SILENCE = logging.NullHandler()
SAMPLES = ("15551234567", "someone@example.com", "someone", "12345:abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Apprise:
    services: dict[str, Carrier]

    class Address(Record):
        """A name in `notifications.apprise.services`, and `:address` where its URL has `{to}`."""

        service: str

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self | None:
        """None where no service is set. Raises: CannotStart when apprise cannot make sense of one."""
        secs, urls = said.apprise.timeout_secs, said.apprise.services
        made = {
            name: carrier(f"notifications.apprise.services.{name}", url, secs, partial(http.calling, f"apprise:{name}"))
            for name, url in urls.items()
        }
        return cls(made) if made else None

    async def send(self, message: Message, to: Address) -> Receipt:
        """Raises: Undelivered."""
        name, _, address = to.service.partition(":")
        if name not in self.services:
            raise Undelivered(f"notifications.apprise.services has no {plain(name)!r}")
        return await self.services[name].tell(message, address, cut(headline(message), TITLE), body(message))


@dataclass(frozen=True)
class Sms:
    carrier: Carrier

    class Address(Record):
        phone: str

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self | None:
        """None where no URL is set. Raises: CannotStart when it is of no use."""
        if said.sms.url is None:
            return None
        if "{to}" not in said.sms.url.get_secret_value():
            raise CannotStart("notifications.sms.url: must have {to} where the phone number goes")
        secs = said.apprise.timeout_secs
        return cls(carrier("notifications.sms.url", said.sms.url, secs, partial(http.calling, "sms")))

    async def send(self, message: Message, to: Address) -> Receipt:
        """Raises: Undelivered."""
        return await self.carrier.tell(message, to.phone, "", short(message))


@dataclass(frozen=True)
class Carrier:
    """One service. Its threads are its own, and a hanging one keeps its slot, so it never holds another service."""

    setting: str
    url: SecretStr
    deadline_secs: float
    calling: Calling = unbroken
    slots: Slots = field(default_factory=Slots)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "apprise"))
    under_way: set[asyncio.Task[str | None]] = field(default_factory=set)

    async def tell(self, message: Message, to: str, title: str, text: str) -> Receipt:
        """Raises: Undelivered."""
        url = addressed(self.setting, self.url.get_secret_value(), to)
        try:
            with self.calling() as call:
                return await self._tell(message, url, title, text, call)
        except Open as resting:
            raise Unasked(str(resting), resting.retry_after) from resting

    async def _tell(self, message: Message, url: str, title: str, text: str, call: Call) -> Receipt:
        """What apprise calls trouble may be an address of which nobody knows: only silence counts as a failure."""
        async with contextlib.AsyncExitStack() as slot:
            try:
                await slot.enter_async_context(self.slots.of(self.setting))
            except Busy as busy:
                raise Undelivered(str(busy), BUSY) from busy
            telling = asyncio.create_task(self._to_its_end(slot.pop_all(), url, title, text, mood(message)))
        self.under_way.add(telling)
        telling.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self.deadline_secs):
                trouble = await asyncio.shield(telling)
        except TimeoutError as late:
            call.failed()
            raise Undelivered(f"{self.setting}: no answer within {self.deadline_secs:g} s", SOON) from late
        if trouble is not None:
            raise Undelivered(f"{self.setting}: {trouble}", LATER)
        return Receipt()

    async def _to_its_end(
        self, slot: contextlib.AsyncExitStack, url: str, title: str, text: str, mood: str
    ) -> str | None:
        async with slot:
            return await asyncio.get_running_loop().run_in_executor(self.threads, notify, url, title, text, mood)

    def _ended(self, telling: asyncio.Task[str | None]) -> None:
        self.under_way.discard(telling)
        if not telling.cancelled():
            telling.exception()  # whoever still waits has it; nobody else need hear of it


def notify(url: str, title: str, text: str, mood: str) -> str | None:
    """None once the service took it, else why not, as far as apprise tells. Blocks until the service is done."""
    from apprise import Apprise as Services

    service = made(url)
    if service is None:
        return "the address is none that this service takes"
    services = Services()
    services.add(service)
    result = services.notify(text, title, mood, body_format="text")
    return None if result else hushed(told(result), url)


def made(url: str) -> NotifyBase | None:
    """The service behind a URL; None for one that apprise doesn't understand.

    No deadline of apprise's own: with one, all services would share its few threads.
    """
    from apprise import Apprise as Services
    from apprise import AppriseAsset, OverflowMode

    asset = AppriseAsset(
        storage_mode="memory", service_timeout=0, app_id="LLM Incident Manager", app_desc="LLM Incident Manager",
        http_redirects=False,
    )  # fmt: skip
    service = Services.instantiate(url, asset=asset)
    if service is not None and "overflow=" not in url:
        service.overflow_mode = OverflowMode.TRUNCATE
    return service


def carrier(setting: str, url: SecretStr, deadline_secs: float, calling: Calling = unbroken) -> Carrier:
    """Raises: CannotStart when apprise can't make a service of the URL, whomever it is for."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("apprise").propagate = False
    logging.getLogger("apprise").addHandler(SILENCE)
    plainly = url.get_secret_value()
    if all(made(plainly.replace("{to}", quote(sample, safe=""))) is None for sample in SAMPLES):
        scheme = re.match(r"[a-z0-9]{1,32}(?=://)", plainly)
        raise CannotStart(f"{setting}: apprise cannot read this {scheme[0] + ':// ' if scheme else ''}URL")
    return Carrier(setting, url, deadline_secs, calling)


def addressed(setting: str, url: str, to: str) -> str:
    """The URL for one person. Raises: Undelivered when an address is missing, or one too many."""
    if to and "{to}" not in url:
        raise Undelivered(f"{setting} has no {{to}}: name it without an address")
    if not to and "{to}" in url:
        raise Undelivered(f"{setting} has a {{to}}: add :address to its name")
    return url.replace("{to}", quote(to, safe="", errors="replace"))


def mood(message: Message) -> str:
    """apprise's type of a message, which services show as a colour or a symbol."""
    if message.kind is MessageKind.RESOLVED:
        return "success"
    if message.kind is MessageKind.ACKNOWLEDGED:
        return "info"
    return "failure" if Severity(message.severity).important else "warning"


def body(message: Message) -> str:
    """The link comes early: services that take little cut the end off."""
    if message.text is not None:
        return lines(message.text).strip() or headline(message)
    parts: Iterable[str] = (
        message.link or "",
        "\n".join(f"{name}: {value}" for name, value in facts(message).items()),
        "\n".join(context(message, 150)),
        "\n".join(listed(message, LISTED)) if message.bundled else lines(message.body).strip(),
    )
    whole = "\n\n".join(part for part in parts if part)
    within = whole[:BODY_BYTES]
    while len(json.dumps(within)) > BODY_BYTES:
        within = within[: len(within) * 9 // 10]
    return whole if within == whole else f"{within}…"


def short(message: Message) -> str:
    """A text message: what it is, and where to look."""
    if message.text is not None:
        return cut(lines(message.text).strip(), SMS) or headline(message)
    link = f"\n{message.link}" if message.link and len(message.link) < SMS / 2 else ""
    return cut(headline(message), SMS - len(link)) + link


def told(result: AppriseResult) -> str:
    """What apprise logged about a failure."""
    said = dict.fromkeys(plain(entry.message) for entry in result.logs())
    return " ".join(said) or "refused"


def hushed(text: str, url: str) -> str:
    """The text without any part of the URL: which of them is secret differs from service to service."""
    _, _, rest = url.partition("://")
    parts = {part for raw in re.split(r"[/:@?&=,;#]+", rest) for part in (raw, unquote(raw)) if len(part) >= 4}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, HIDDEN)
    return cut(redacted(text), 300)
