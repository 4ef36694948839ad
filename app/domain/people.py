"""The directory: people, teams, and how each is reached."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from app.domain.record import Record
from app.domain.vocabulary import ChannelName

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
MAIL = re.compile(r"[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]{1,255}")


def _mail_address(value: str) -> str:
    if not MAIL.fullmatch(value):
        raise ValueError("must be one mail address, like name@example.com")
    return value


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://\S{1,2000}", value):
        raise ValueError("must be an http:// or https:// address")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]


class User(Record):
    """Somebody who can be paged, on every channel they have an address for."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    email: MailAddress | None = None
    webhook_url: WebAddress | None = None
    timezone: str = "UTC"
    active: bool = True

    def addresses(self) -> dict[ChannelName, dict[str, str]]:
        """Channel → the address that channel needs. Empty when the person cannot be reached."""
        known: dict[ChannelName, dict[str, str]] = {}
        if self.active and self.email:
            known[ChannelName.EMAIL] = {"email": self.email}
        if self.active and self.webhook_url:
            known[ChannelName.WEBHOOK] = {"url": self.webhook_url}
        return known


class Team(Record):
    """Everybody who is paged when the team is."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    members: tuple[Slug, ...] = ()


def external_address(address: str) -> tuple[ChannelName, dict[str, str]]:
    """The channel and address behind an external target: a web address is a webhook, a mail address an e-mail.

    Raises: ValueError when it is neither.
    """
    if address.startswith(("http://", "https://")):
        return ChannelName.WEBHOOK, {"url": _web_address(address)}
    return ChannelName.EMAIL, {"email": _mail_address(address.removeprefix("mailto:"))}
