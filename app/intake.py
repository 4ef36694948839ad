"""The settings of what comes in: the secrets by which tools are known, and what is said of all they send."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from app.domain.vocabulary import Environment
from app.section import Count, Name, Section


class Detector(StrEnum):
    """What can be recognised and taken out of all that comes in."""

    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    KEY = "key"
    CONTENT = "content"


def _fernet_key(key: SecretStr) -> SecretStr:
    try:
        size = len(base64.urlsafe_b64decode(key.get_secret_value()))
    except (binascii.Error, ValueError):
        size = 0
    if size != 32:
        raise ValueError(f"must be a Fernet key, 32 random bytes in url-safe base64; make one: {NEW_KEY}")
    return key


NEW_KEY = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
FernetKey = Annotated[SecretStr, AfterValidator(_fernet_key)]

GENERIC = "generic"
"""The source of a tool whose format a saved mapping of the same name knows."""


def _usable(secret: SecretStr) -> SecretStr:
    said = secret.get_secret_value()
    if not said.strip() or not said.isprintable():
        raise ValueError("must be one line, and not empty: with an empty one everybody could sign")
    return secret


class Tool(Section):
    """One tool that posts to /api/v1/ingest/<its name here>."""

    source: Name | None = Field(
        None, description="What it is, like grafana; generic = a mapping of its name; none = its name says it."
    )
    secrets: Annotated[tuple[Annotated[SecretStr, AfterValidator(_usable)], ...], Field(max_length=5)] = Field(
        (), description="What its signatures are made with; two while one replaces the other. None = an API key."
    )
    service: Name | None = Field(None, description="The service of alerts that name none.")
    environment: Environment | None = Field(None, description="The environment of alerts that name none.")
    labels: dict[Name, str] = Field({}, description="Labels of all its alerts, unless they say otherwise.")


class Evidence(Section):
    enabled: bool = Field(False, description="Keep what tools send, as they sent it, encrypted, for admins only.")
    keys: Annotated[tuple[FernetKey, ...], Field(max_length=5)] = Field(
        (), description="Fernet keys: the first encrypts, all decrypt; a new one goes first, an old one stays a while."
    )
    retention_days: Count = Field(30, description="So long it is kept.")
    max_bytes: Count = Field(1_048_576, description="A longer body is not kept.")


class Mail(Section):
    port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="Where alerts are taken by SMTP; none = nowhere, 0 = chosen by the operating system."
    )
    host: Name = Field("127.0.0.1", description="The address it listens on.")
    domain: Name | None = Field(None, description="What its addresses end in, after the @; none = in anything.")
    senders: tuple[Name, ...] = Field((), description="Whose mail is taken, like *@example.org; none = anybody's.")
    max_bytes: Count = Field(10_485_760, description="The longest mail, attachments and all.")
    tls_cert_path: FilePath | None = Field(None, description="PEM file of the certificate for STARTTLS; none = plain.")
    tls_key_path: FilePath | None = Field(None, description="PEM file of its key.")

    @model_validator(mode="after")
    def _whole_tls(self) -> "Mail":
        if (self.tls_cert_path is None) != (self.tls_key_path is None):
            raise ValueError("tls_cert_path and tls_key_path need each other")
        return self


class Intake(Section):
    tools: dict[Name, Tool] = Field({}, description="Name → what posts under it; sources without one need an API key.")
    redact: tuple[Detector, ...] = Field(
        tuple(Detector), description="What is taken out of all that comes in: email, phone, card, key, content."
    )
    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = Field(
        None, description="Whose phone numbers are known without a +, like DE; none = only international ones are."
    )
    evidence: Evidence = Field(Evidence(), description="What tools send, as they sent it.")
    mail: Mail = Field(Mail(), description="Alerts by e-mail.")
