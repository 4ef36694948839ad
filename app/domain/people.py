"""The directory: people, teams, and how each is reached."""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from app.domain.calendar import Hours, Zone
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, Severity

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
LONGEST_WAIT = 7 * 86400
BLANK = r"\s\x00-\x20\x7f-\xa0"
"""Also what some engines of regular expressions don't count as such."""


@dataclass(frozen=True)
class _Like:
    """A text that the pattern matches whole; calling it returns such a text, or raises ValueError."""

    pattern: str
    must: str

    def __call__(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"must be {self.must}")
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(core) | {"pattern": f"^(?:{self.pattern})$"}


_mail = _Like(rf"[^@{BLANK},;<>\"]{{1,64}}@[^@{BLANK},;<>\"]{{1,255}}", "one mail address, like name@example.com")
_web = _Like(rf"https?://[^{BLANK}]{{1,2000}}", "an http:// or https:// address")
_phone = _Like(r"\+[1-9][0-9]{6,14}", "a number as E.164 has it, like +4930123456")
_slack = _Like(r"[A-Z][A-Z0-9]{2,30}|#[a-z0-9_-]{1,80}", "the id of a Slack user or channel, like U012AB3CD, or #name")
_service = _Like(
    rf"[a-z0-9_-]{{1,50}}(:[^{BLANK}]{{1,500}})?", "a service of notifications.apprise.services, and its :address"
)
_routing_key = _Like(r"[A-Za-z0-9]{32}", "an integration key of PagerDuty's Events v2, 32 letters and digits")

MailAddress = Annotated[str, _mail]
WebAddress = Annotated[str, _web]
Phone = Annotated[str, _phone]
SlackId = Annotated[str, _slack]
Service = Annotated[str, _service]
RoutingKey = Annotated[str, _routing_key]


class Step(Record):
    """One step of telling somebody: a channel to use, or seconds to wait before the next step."""

    channel: ChannelName | None = None
    wait_secs: int | None = Field(default=None, ge=1, le=LONGEST_WAIT)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.channel is None) == (self.wait_secs is None):
            raise ValueError("must have either a channel or wait_secs")
        return self


class Rules(Record):
    """How somebody wants to be told. `important` (P0 and P1) falls back to `default`.

    Without any rule every channel the person has an address for is used at once.
    """

    default: tuple[Step, ...] = Field(default=(), max_length=20)
    important: tuple[Step, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _say_something(self) -> Self:
        for name, steps in (("default", self.default), ("important", self.important)):
            if steps and not any(step.channel for step in steps):
                raise ValueError(f"{name} must name a channel, not only waits")
        return self

    def of(self, severity: Severity) -> tuple[Step, ...]:
        return (severity.important and self.important) or self.default


class Preferences(Record):
    """`quiet_hours` are in the user's time zone; what is not P0 or P1 waits for their end.

    `severity_filter`: told of these only; empty = of all.
    """

    rules: Rules = Rules()
    quiet_hours: Hours | None = None
    severity_filter: tuple[Severity, ...] = ()


class User(Record):
    """Somebody who can be paged, on every channel they have an address for.

    `apprise` names a service of `notifications.apprise.services` and the person's address there, like
    `telegram:12345`; `pagerduty_key` is the integration key of a PagerDuty service of their own. `skills` are what
    rules that assign by skill look for.
    """

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    email: MailAddress | None = None
    webhook_url: WebAddress | None = None
    phone: Phone | None = None
    slack_id: SlackId | None = None
    pagerduty_key: RoutingKey | None = None
    apprise: Service | None = None
    timezone: Zone = "UTC"
    notification_preferences: Preferences = Preferences()
    skills: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(default=(), max_length=100)
    active: bool = True

    def addresses(self) -> dict[ChannelName, dict[str, str]]:
        """Channel → the address that channel needs. Empty when the person cannot be reached."""
        if not self.active:
            return {}
        known = {
            ChannelName.EMAIL: ("email", self.email),
            ChannelName.WEBHOOK: ("url", self.webhook_url),
            ChannelName.SLACK: ("to", self.slack_id),
            ChannelName.PAGERDUTY: ("key", self.pagerduty_key),
            ChannelName.SMS: ("phone", self.phone),
            ChannelName.APPRISE: ("service", self.apprise),
        }
        return {channel: {field: address} for channel, (field, address) in known.items() if address}


class Team(Record):
    """Everybody who is paged when the team is."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    members: tuple[Slug, ...] = ()
    on_call_schedule_id: Slug | None = None
    escalation_policy_id: Slug | None = None


EXTERNAL = (
    "must be a web or mail address, slack, slack:<#channel or id>, pagerduty, pagerduty:<integration key>,"
    " teams, teams:<https address>, sms:<+number> or apprise:<service>"
)


def external_address(address: str) -> tuple[ChannelName, dict[str, str]]:
    """The channel and address behind an external target.

    A web address is a webhook, a mail address an e-mail; anything else names its channel: `slack:#llm-oncall`.
    `slack`, `pagerduty` and `teams` alone stand for the destination in the settings (an empty address).

    Raises: ValueError when it is none of these.
    """
    if address.startswith(("http://", "https://")):
        return ChannelName.WEBHOOK, {"url": _web(address)}
    name, _, rest = address.partition(":")
    match name:
        case "slack":
            return ChannelName.SLACK, {"to": _slack(rest) if rest else ""}
        case "pagerduty":
            return ChannelName.PAGERDUTY, {"key": _routing_key(rest) if rest else ""}
        case "teams":
            return ChannelName.TEAMS, {"url": _web(rest) if rest else ""}
        case "sms":
            return ChannelName.SMS, {"phone": _phone(rest)}
        case "apprise":
            return ChannelName.APPRISE, {"service": _service(rest)}
    return ChannelName.EMAIL, {"email": _mail(address.removeprefix("mailto:"))}


def veiled(secret: str) -> str:
    """A name for a secret that gives it away to nobody: the same for the same one."""
    return f"#{hashlib.sha256(secret.encode()).hexdigest()[:12]}"
