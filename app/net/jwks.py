"""An issuer's public keys. Sources: RFC 7517 (JWKS), OpenID Connect Discovery 1.0 §4."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from app.admission import confidential
from app.domain.errors import Invalid, Unavailable
from app.net.breakers import Open
from app.net.http import Blocked, Http, Unanswered
from app.net.slots import Busy

log = logging.getLogger(__name__)

READ_AT_MOST = 1_048_576  # bytes: sets that carry certificates are some 30 KiB
FRESH_SECS = 300.0
"""How often the keys are read anew (chosen: a withdrawn key opens nothing after this long)."""
AGAIN_SECS = 5.0
"""An issuer is asked no sooner than this after the last time, whoever shows what (chosen)."""


class Unusable(Exception):
    """The issuer answered something that holds no keys."""


@dataclass
class KeySet:
    """The keys at `url`, or where the issuer's discovery document says; read in the background and at an unknown id.

    An issuer that is away costs nothing but its own new keys: those known go on working.
    """

    http: Http
    issuer: str
    url: str | None
    algorithms: frozenset[str]
    now: Callable[[], float] = time.monotonic
    keys: dict[str | None, PyJWK] = field(default_factory=dict)
    answered: bool | None = None
    asked_at: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, kid: str | None) -> PyJWK | None:
        """The key of that id, or the only one if the token names none; None when the issuer has no such key.

        Raises: Unavailable when the issuer would have to be asked, and is away.
        """
        if (known := self._known(kid)) is not None:
            return known
        await self.read(unless=kid)
        known = self._known(kid)
        if known is None and not self.answered:
            raise Unavailable(
                "issuer", "The keys of this token's issuer cannot be had now; API keys work.", round(AGAIN_SECS)
            )
        return known

    async def keep_fresh(self) -> None:
        """Until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(FRESH_SECS if self.answered else AGAIN_SECS)

    async def read(self, unless: str | None = None) -> None:
        """Asks the issuer, if it wasn't asked just now and hasn't meanwhile told the key `unless`."""
        async with self.asking:
            if self.now() - self.asked_at < AGAIN_SECS or (unless is not None and unless in self.keys):
                return
            self.asked_at = self.now()
            before, self.answered = self.answered, False
            try:
                self.keys = usable(await self._json(self.url or await self._discovered()), self.algorithms)
                self.answered = True
            except (Unusable, Invalid, Blocked, Unanswered, Busy, Open) as no:
                if before is not False:
                    log.warning("the keys of %s cannot be read: %s", self.issuer, no)

    def _known(self, kid: str | None) -> PyJWK | None:
        if kid is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(kid)

    async def _discovered(self) -> str:
        document = await self._json(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        url = document.get("jwks_uri")
        if document.get("issuer") != self.issuer:
            raise Unusable("its discovery document is another issuer's")
        if not isinstance(url, str) or not confidential(url):
            raise Unusable("its discovery document names no jwks_uri with https")
        return url

    async def _json(self, url: str) -> Mapping[str, Any]:
        answer = await self.http.get(url, {"accept": "application/json"}, read_at_most=READ_AT_MOST)
        if answer.status != 200:
            raise Unusable(f"{url} answered {answer.status}")
        try:
            document = orjson.loads(answer.text)
        except orjson.JSONDecodeError as wrong:
            raise Unusable(f"{url} is not JSON") from wrong
        if not isinstance(document, dict):
            raise Unusable(f"{url} is not a JSON object")
        return document


def usable(document: Mapping[str, Any], algorithms: frozenset[str]) -> dict[str | None, PyJWK]:
    """The keys that may sign tokens, by id: public ones, long enough, and for one of `algorithms` each.

    Which algorithm a key is for is said by the key (`alg`, else `kty`), never by a token. Raises: Unusable.
    """
    listed = document.get("keys")
    found: dict[str | None, PyJWK] = {}
    for described in listed if isinstance(listed, list) else []:
        if not isinstance(described, dict) or described.get("use") == "enc" or "d" in described:
            continue
        kid = described.get("kid")
        if described.get("kty") not in ("RSA", "EC") or not isinstance(kid, str | None):
            continue
        try:
            key = PyJWK(described)
        except (PyJWTError, ValueError, TypeError, KeyError, NotImplementedError):
            continue
        if key.algorithm_name in algorithms and key.Algorithm.check_key_length(key.key) is None:
            found.setdefault(kid, key)
    if not found:
        raise Unusable(f"there is no key for {' or '.join(sorted(algorithms))} among them")
    return found
