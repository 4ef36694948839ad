"""An issuer of tokens on loopback: real keys, discovery and a JWKS over HTTP."""

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.receivers import HttpReceiver, Reply, Request

AUDIENCE = "llm-incident-manager"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, bits)


@cache
def ec_key(name: str = "first") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(key: PrivateKey, **more: str) -> dict[str, Any]:
    """The public half, as a JWKS has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | more
    return ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | more


def claims(issuer: str, **other: object) -> dict[str, Any]:
    """Good ones for an hour; None takes one out."""
    now = int(time.time())
    good = {"iss": issuer, "aud": AUDIENCE, "sub": "u-1", "email": "ada@example.com", "roles": ["admin"], "iat": now}
    return {name: value for name, value in (good | {"exp": now + 3600} | other).items() if value is not None}


class Issuer(HttpReceiver):
    """Publishes `published`, by key id, and signs with whatever it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.published: dict[str, PrivateKey] = {"rsa-1": rsa_key(), "ec-1": ec_key()}

    @property
    def name(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def jwks_url(self) -> str:
        return f"{self.name}/keys"

    @property
    def asked(self) -> int:
        """How often its keys were fetched."""
        return sum(request.path == "/keys" for request in self.items)

    def answer(self, request: Request) -> Reply:
        if request.path == "/keys":
            keys = [jwk(key, kid=kid) for kid, key in self.published.items()]
            return Reply(body=json.dumps({"keys": keys}).encode())
        if request.path == "/.well-known/openid-configuration":
            return Reply(body=json.dumps({"issuer": self.name, "jwks_uri": self.jwks_url}).encode())
        return Reply(404)

    def token(self, kid: str | None = "rsa-1", key: PrivateKey | None = None, **other: object) -> str:
        signer = key or self.published[kid or "rsa-1"]
        algorithm = "RS256" if isinstance(signer, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims(self.name, **other), signer, algorithm, {"kid": kid} if kid else {})
