"""The door: API keys, and what a machine with no key yet may answer."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import response
from app.child import CannotStart
from app.config import Server
from app.domain.access import Principal
from app.domain.errors import Forbidden, Unauthenticated, Unavailable
from app.runtime import Gateway
from app.service.keys import Keys

log = logging.getLogger(__name__)


class Door:
    """While no API key is known, everybody on this machine may do everything, so nobody else may get in.

    A web page can reach a loopback port under a name of its own (DNS rebinding) or send it a form: only
    requests that name this machine in Host, and in Origin if there is one, are answered.
    """

    def __init__(self, app: ASGIApp, keys: Keys, loopback: bool) -> None:
        self.app = app
        self.keys = keys
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.loopback and not self.keys.known:
            headers = Headers(scope=scope)
            reason = stranger(headers.get("host", ""), headers.get("origin"))
            if reason is not None:
                await response(Forbidden(reason), scope["path"])(scope, receive, send)
                return
        await self.app(scope, receive, send)


@lru_cache(maxsize=256)
def stranger(host: str, origin: str | None) -> str | None:
    """Why a request with these headers is not from this machine, or None when it is."""
    way_out = "create a key with `llm-im key create` and send it as X-API-Key"
    if not is_loopback(_hostname(f"//{host}")):
        return f"Without an API key only loopback Hosts are answered, not {host!r}; {way_out}."
    if origin is not None and not is_loopback(_hostname(origin)):
        return f"Without an API key no page from {origin!r} is answered; {way_out}."
    return None


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def check_bound(server: Server, keys: Keys) -> None:
    """Raises: CannotStart when other machines could reach an API that asks for no key."""
    with suppress(Unavailable):  # PostgreSQL is away: `admitted` looks again
        await keys.list()
    if keys.open and not server.loopback:
        raise CannotStart(
            f"{server.exposed} can be reached from other machines, and there is no API key yet. Create one first "
            "(`llm-im key create --name me --role admin`), or listen on 127.0.0.1 "
            "(server.host, API_HOST; server.grpc_host, GRPC_HOST)."
        )
    if keys.open:
        log.warning("there is no API key yet: whoever is on this machine may do everything")


def token(request: Request) -> str | None:
    """What the caller shows."""
    return presented(request.headers)


def presented(headers: Mapping[str, str]) -> str | None:
    """The secret in headers (or metadata) with lower-case names: X-API-Key, or Authorization: Bearer."""
    key = headers.get("x-api-key")
    if key is not None:
        return key
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


async def caller(request: Request) -> Principal:
    """Who asks. Raises: Unauthenticated, Unavailable."""
    return await admitted(request.app.state.gateway, token(request))


async def admitted(gateway: Gateway, secret: str | None) -> Principal:
    """Whose key it is; the door of every protocol. Raises: Unauthenticated, Unavailable."""
    principal = await gateway.keys.principal(secret)
    if gateway.keys.open and not gateway.settings.server.loopback:
        raise Unauthenticated("There is no API key yet: create one with `llm-im key create`.")
    return principal


Caller = Annotated[Principal, Depends(caller)]
