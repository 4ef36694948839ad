"""JWTs: whom an issuer we trust says is at the door. Sources: RFC 7519, RFC 8725 (best practices)."""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from jwt import PyJWK
from pydantic import SecretStr

from app.admission import Issuer
from app.domain.access import Principal
from app.domain.claims import name_in, role_in
from app.domain.errors import InvalidToken
from app.domain.vocabulary import ActorType, Role
from app.net.jwks import KeySet

LEEWAY_SECS = 30
"""How far apart our clock and the issuer's may be."""
LONGEST_SECS = 86_400
"""A token is good for a day at most: there is no way to revoke one."""
LARGEST_BYTES = 8192

REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "This token has expired."),
    (jwt.ImmatureSignatureError, "This token is not valid yet (nbf, iat)."),
    (jwt.InvalidAudienceError, "This token is for another service: its audience (aud) is not the one in auth.issuers."),
    (jwt.InvalidSignatureError, "This token's signature is wrong."),
    (jwt.InvalidAlgorithmError, "This token is not signed with the algorithm of its issuer's key."),
)


@dataclass(frozen=True)
class Trusted:
    """An issuer, and its keys: one that it shares with us, or a set that it publishes."""

    said: Issuer
    keys: PyJWK | KeySet

    async def key(self, kid: str | None) -> PyJWK:
        """Raises: InvalidToken when the issuer has no such key; Unavailable when it cannot be asked."""
        found = self.keys if isinstance(self.keys, PyJWK) else await self.keys.find(kid)
        if found is None:
            raise InvalidToken(
                "This token is signed with a key that its issuer doesn't publish." if kid else
                "This token names no key (kid), and its issuer has several."
            )  # fmt: skip
        return found


def shared(secret: SecretStr) -> PyJWK:
    """The key of HS256 that a secret is."""
    encoded = urlsafe_b64encode(secret.get_secret_value().encode()).rstrip(b"=").decode()
    return PyJWK({"kty": "oct", "alg": "HS256", "k": encoded})


class Tokens:
    """Takes the tokens of some issuers."""

    def __init__(self, issuers: Iterable[Trusted] = ()) -> None:
        self.issuers = {trusted.said.issuer: trusted for trusted in issuers}

    async def principal(self, token: str) -> Principal:
        """Whom a JWT is about. Raises: InvalidToken, Forbidden without a role, Unavailable without the keys."""
        if len(token) > LARGEST_BYTES:
            raise InvalidToken(f"This token is longer than {LARGEST_BYTES:,} bytes.")
        try:
            unproven = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, UnicodeError) as wrong:
            raise InvalidToken("This is neither an API key nor a readable JWT.") from wrong
        issuer = unproven["payload"].get("iss")
        trusted = self.issuers.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise InvalidToken("This token's issuer (iss) is not one of auth.issuers.")
        claims = proven(token, await trusted.key(unproven["header"].get("kid")), trusted.said)
        role = role_in(claims, trusted.said.roles_claim, trusted.said.roles)
        return Principal(
            name=name_in(claims, trusted.said.name_claim),
            role=role,
            actor_type=ActorType.INTEGRATION if role == Role.INGEST else ActorType.USER,
            id=f"{issuer} {claims.get('sub')}",
            expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
        )

    async def keep_fresh(self) -> None:
        """Until cancelled: every issuer's keys, each at its own pace."""
        sets = [trusted.keys for trusted in self.issuers.values() if isinstance(trusted.keys, KeySet)]
        await asyncio.gather(*(keys.keep_fresh() for keys in sets))


def proven(token: str, key: PyJWK, said: Issuer) -> dict[str, Any]:
    """The claims of a token that its issuer signed for us, and that is good now. Raises: InvalidToken.

    A PyJWK carries its algorithm: a token that names another is refused, whatever it is.
    """
    try:
        claims = jwt.decode(
            token, key, algorithms=sorted(said.accepted), audience=said.audience, issuer=said.issuer,
            leeway=LEEWAY_SECS, options={"require": ["exp", "aud", "iss"]},
        )  # fmt: skip
    except jwt.MissingRequiredClaimError as missing:
        raise InvalidToken(f"This token has no claim {missing.claim}.") from missing
    except jwt.PyJWTError as wrong:
        raise InvalidToken(
            next((why for kind, why in REASONS if isinstance(wrong, kind)), f"{wrong}".rstrip(".") + ".")
        ) from wrong
    if int(claims["exp"]) - int(claims.get("iat", time.time())) > LONGEST_SECS:
        raise InvalidToken(f"This token is good for longer than {LONGEST_SECS // 3600} hours (exp - iat).")
    return claims
