"""The settings of who gets in, and how much they may ask for."""

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from app.domain.vocabulary import Role
from app.section import Name, Section


def _hmac_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < 32:
        raise ValueError("must be at least 32 bytes long, as HS256 needs it (RFC 7518, 3.2)")
    return secret


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def confidential(url: str) -> bool:
    """Whether nobody on the way can change what is fetched there: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return host is not None and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


PerMinute = Annotated[int, Field(ge=0, le=2**31 - 1)]
HmacSecret = Annotated[SecretStr, AfterValidator(_hmac_secret)]


class Issuer(Section):
    """Whose tokens are taken. The keys: `secret`, or `jwks_url`, or, with neither, what the issuer's discovery says."""

    issuer: Name = Field(description="The claim `iss`, letter by letter; for discovery, its address.")
    audience: Name = Field(description="What the claim `aud` must contain: this service's name at the issuer.")
    secret: HmacSecret | None = Field(None, description="The shared secret of HS256, at least 32 bytes.")
    jwks_url: Name | None = Field(None, description="Where its public keys are: https, or this machine.")
    algorithms: tuple[Literal["HS256", "RS256", "ES256"], ...] = Field(
        (), description="What may sign; none = HS256 with a secret, RS256 and ES256 without."
    )
    roles_claim: Name = Field("roles", description="The claim with the roles; dots lead into objects.")
    roles: dict[str, Role] = Field({}, description="Value of that claim → role; the roles' own names always count.")
    name_claim: Name | None = Field(None, description="The actor's name; none = email, preferred_username or sub.")

    @model_validator(mode="after")
    def _keys_that_fit(self) -> "Issuer":
        if self.secret and self.jwks_url:
            raise ValueError("has secret and jwks_url: give one of the two")
        if not self.secret and not confidential(self.jwks_url or self.issuer):
            raise ValueError(
                f"{'jwks_url' if self.jwks_url else 'issuer'} must begin with https:// (or http:// on this machine), "
                "for public keys are fetched there; or give a secret"
            )
        if unfit := set(self.algorithms) - set(self.fitting):
            raise ValueError(f"algorithms has {min(unfit)}: HS256 goes with a secret only, RS256 and ES256 without one")
        return self

    @property
    def fitting(self) -> tuple[str, ...]:
        return ("HS256",) if self.secret else ("RS256", "ES256")

    @property
    def accepted(self) -> frozenset[str]:
        """The algorithms that may sign."""
        return frozenset(self.algorithms or self.fitting)


class Auth(Section):
    issuers: tuple[Issuer, ...] = Field((), max_length=20, description="Whose JWTs open the door, beside API keys.")

    @model_validator(mode="after")
    def _each_once(self) -> "Auth":
        names = [issuer.issuer for issuer in self.issuers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice} is there twice")
        return self


class RateLimits(Section):
    """Requests per minute. Measured on two cores, a gateway takes some 70,000 single alerts a minute, and answers
    fewer questions: the defaults stop a client that runs wild on a far larger machine, never a storm."""

    ingest_per_minute: PerMinute = Field(240_000, description="Of each ingest key, batches counting once; 0 = none.")
    viewer_per_minute: PerMinute = Field(30_000, description="Of each viewer's key or token; 0 = none.")
    responder_per_minute: PerMinute = Field(240_000, description="Of each responder's key or token; 0 = none.")
    admin_per_minute: PerMinute = Field(240_000, description="Of each admin's key or token; 0 = none.")
    anonymous_per_minute: PerMinute = Field(240_000, description="Of each address, where no key is needed; 0 = none.")
    failures_per_minute: PerMinute = Field(600, description="Wrong keys of each address before 429; 0 = no limit.")


class GraphQL(Section):
    """What one operation may ask for is counted before anything is looked up."""

    max_depth: Annotated[int, Field(ge=1, le=64)] = Field(10, description="Fields within each other.")
    max_aliases: Annotated[int, Field(ge=0, le=1000)] = Field(15, description="Renamed fields in one document.")
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = Field(1000, description="Words and brackets of a document.")
    max_complexity: Annotated[int, Field(ge=1)] = Field(
        10_000, description="Objects that may be asked for, lists counted with their page size."
    )
    introspection: bool | None = Field(None, description="None = only while the API is bound to loopback.")
    init_timeout_secs: Annotated[float, Field(gt=0, le=300)] = Field(
        10, description="A WebSocket that has not said connection_init by then is closed (4408)."
    )
    max_message_bytes: Annotated[int, Field(ge=1024, le=16_777_216)] = Field(
        262_144, description="A larger message on a WebSocket closes it (1009)."
    )
    max_subscriptions: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="Operations on one WebSocket.")
    max_waiting: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        2000, description="Events that wait for one listener before it is dropped (1013)."
    )
    recheck_secs: Annotated[float, Field(gt=0, le=60)] = Field(
        20, description="How often the key behind an open WebSocket is looked at again; revoked = closed (4401)."
    )
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = Field(2000, description="WebSockets of one gateway.")
