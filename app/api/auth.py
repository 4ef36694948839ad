"""The door: API keys, tokens, and what a machine with neither may answer."""

import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from app.admission import is_loopback
from app.api.errors import response
from app.child import CannotStart
from app.config import Server
from app.domain.access import Principal
from app.domain.errors import Forbidden, Unauthenticated, Unavailable
from app.runtime import Gateway
from app.service.keys import Keys

log = logging.getLogger(__name__)


class Door:
    """With no API key and no issuer of tokens everybody on this machine may do everything, so nobody else gets in.

    A web page can reach a loopback port under a name of its own (DNS rebinding) or send it a form: only
    requests that name this machine in Host, and in Origin if there is one, are answered.
    """

    def __init__(self, app: ASGIApp, keys: Keys, loopback: bool) -> None:
        self.app = app
        self.keys = keys
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self.loopback and not self.keys.shut:
            headers = Headers(scope=scope)
            reason = stranger(headers.get("host", ""), headers.get("origin"))
            if reason is not None:
                refused = WebSocketClose(reason="") if scope["type"] == "websocket" else (
                    response(Forbidden(reason), scope["path"])
                )  # fmt: skip
                await refused(scope, receive, send)
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


async def check_bound(server: Server, keys: Keys) -> None:
    """Raises: CannotStart when other machines could reach an API that asks for no key."""
    with suppress(Unavailable):  # PostgreSQL is away: `admitted` looks again
        await keys.list()
    if keys.open and not server.loopback:
        raise CannotStart(
            f"{server.exposed} can be reached from other machines, and there is no API key yet. Create one first "
            "(`llm-im key create --name me --role admin`), name an issuer of tokens (auth.issuers), or listen on "
            "127.0.0.1 (server.host, API_HOST; server.grpc_host, GRPC_HOST)."
        )
    if keys.open:
        log.warning("there is no API key yet: whoever is on this machine may do everything")


def token(request: HTTPConnection) -> str | None:
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
    """Who asks. Raises: Unauthenticated, Unavailable, RateLimited, Forbidden without a role."""
    return await shown(request, token(request))


async def shown(request: HTTPConnection, secret: str | None) -> Principal:
    """Who shows this secret with a request, which is counted: what is left goes into the answer's headers."""
    gateway: Gateway = request.app.state.gateway
    who = await admitted(gateway, secret, address(request))
    request.state.allowance = gateway.limits.spend(who, address(request))
    return who


async def signed(request: HTTPConnection, signer: Awaitable[Principal]) -> Principal:
    """Who signed a request, which is counted. Raises: Unauthenticated, RateLimited."""
    gateway: Gateway = request.app.state.gateway
    try:
        who = await signer
    except Unauthenticated:
        gateway.limits.fail(address(request))
        raise
    request.state.allowance = gateway.limits.spend(who, address(request))
    return who


async def visitor(request: Request) -> None:
    """Counts a request for which no key is needed. Raises: RateLimited."""
    gateway: Gateway = request.app.state.gateway
    request.state.allowance = gateway.limits.spend(address(request))


def address(connection: HTTPConnection) -> str:
    """Where it comes from: the nearest hop, for what proxies say of others can be made up."""
    return connection.client.host if connection.client else "unknown"


async def admitted(gateway: Gateway, secret: str | None, address: str = "unknown") -> Principal:
    """Whose key or token it is; the door of every protocol. Wrong ones are counted by the `address` they come from.

    Raises: Unauthenticated, Unavailable, Forbidden when a token gives no role, RateLimited.
    """
    try:
        return await _known(gateway, secret)
    except Unauthenticated:
        gateway.limits.fail(address)
        raise


async def _known(gateway: Gateway, secret: str | None) -> Principal:
    if gateway.keys.issuers and secret is not None and secret.count(".") == 2:
        return await gateway.tokens.principal(secret)
    principal = await gateway.keys.principal(secret)
    if gateway.keys.open and not gateway.settings.server.loopback:
        raise Unauthenticated("There is no API key yet: create one with `llm-im key create`.")
    return principal


Caller = Annotated[Principal, Depends(caller)]
