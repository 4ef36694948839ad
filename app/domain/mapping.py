"""A saved mapping: what the JSON of a tool means that nobody has written a source for."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from app.domain.alert import AlertStatus
from app.domain.people import Slug
from app.domain.record import Record
from app.domain.vocabulary import Severity

EXPRESSION_MAX = 1000
Expression = Annotated[str, Field(min_length=1, max_length=EXPRESSION_MAX)]
"""JMESPath. It is read where it is used (app/sources/mapped.py): here it is a text."""
Text = Annotated[str, Field(min_length=1, max_length=255)]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
PLACES = re.compile(r"\{(\w*)\}")


class MappedKind(StrEnum):
    ALERT = "alert"
    CHANGE = "change"


class Algorithm(StrEnum):
    SHA256 = "sha256"
    SHA1 = "sha1"
    SHA512 = "sha512"


class Encoding(StrEnum):
    HEX = "hex"
    BASE64 = "base64"


class Scheme(StrEnum):
    HMAC = "hmac"
    STANDARD_WEBHOOKS = "standard_webhooks"


class Signature(Record):
    """How its posts are signed; the secrets stand in the settings. Standard Webhooks leave nothing else to say.

    `part` and `timestamp_part` name parts of a header like `t=1795404870,v1=5f3c…`. `content` is what is signed: text
    with {body} and, where there is one, {timestamp}.
    """

    scheme: Scheme = Scheme.HMAC
    header: Header | None = None
    prefix: str = Field("", max_length=50)
    part: Text | None = None
    algorithm: Algorithm = Algorithm.SHA256
    encoding: Encoding = Encoding.HEX
    timestamp_header: Header | None = None
    timestamp_part: Text | None = None
    content: str = Field("{body}", max_length=200)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.scheme is Scheme.STANDARD_WEBHOOKS:
            return self
        if self.header is None:
            raise ValueError("needs a header, unless the scheme is standard_webhooks")
        places = PLACES.findall(self.content)
        if places.count("body") != 1 or not set(places) <= {"body", "timestamp"}:
            raise ValueError("content must have {body} once, and no places but {body} and {timestamp}")
        dated = self.timestamp_header is not None or self.timestamp_part is not None
        if dated != ("timestamp" in places):
            raise ValueError("content has {timestamp} where timestamp_header or timestamp_part says when it was signed")
        return self


class Fields(Record):
    """An expression for each field. Of a change only title, service, environment, starts_at, url and author count."""

    title: Expression
    description: Expression | None = None
    severity: Expression | None = None
    status: Expression | None = None
    identity: Expression | None = None
    delivery: Expression | None = None
    service: Expression | None = None
    environment: Expression | None = None
    incident_class: Expression | None = None
    starts_at: Expression | None = None
    ends_at: Expression | None = None
    occurrences: Expression | None = None
    url: Expression | None = None
    runbook_url: Expression | None = None
    author: Expression | None = None


class Defaults(Record):
    """What is taken where an expression finds nothing."""

    title: Text | None = None
    severity: Severity | None = None
    status: AlertStatus | None = None
    service: Text | None = None
    environment: Text | None = None
    incident_class: Text | None = None


def _folded(table: object) -> object:
    return {str(name).strip().casefold(): word for name, word in table.items()} if isinstance(table, dict) else table


Lookup = BeforeValidator(_folded)


class Lookups(Record):
    """What the tool's own words mean, in any case."""

    severity: Annotated[dict[str, Severity], Lookup, Field(max_length=100)] = {}
    status: Annotated[dict[str, AlertStatus], Lookup, Field(max_length=100)] = {}


class Mapping(Record):
    """`each` finds the list of things that one body tells of; all other expressions are about one of them.

    `drop`: it is none of our business; `resolved`: it says that it is over, whatever the status.
    """

    id: Slug
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)
    enabled: bool = True
    kind: MappedKind = MappedKind.ALERT
    each: Expression | None = None
    drop: Expression | None = None
    resolved: Expression | None = None
    fields: Fields
    labels: dict[Text, Expression] = Field({}, max_length=100)
    defaults: Defaults = Defaults()
    lookups: Lookups = Lookups()
    signature: Signature | None = None

    def expressions(self) -> dict[str, str]:
        """Every expression by its path."""
        own = {name: getattr(self, name) for name in ("each", "drop", "resolved")}
        fields = {f"fields.{name}": text for name, text in self.fields}
        labels = {f"labels.{name}": text for name, text in self.labels.items()}
        return {path: text for path, text in (own | fields | labels).items() if text is not None}
