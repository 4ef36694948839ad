"""The one way out over HTTP: a total deadline, no redirects, no proxies, and only to addresses that are allowed.

Names resolve anew at each connection, so the address is checked where it is connected to, not where it is written.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from app.domain.errors import Invalid
from app.net.slots import Slots

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
SHARED = ipaddress.ip_network("100.64.0.0/10")
"""RFC 6598, which `ipaddress` calls neither private nor global."""
READ_AT_MOST = 65_536


class Blocked(Exception):
    """The address must not be reached. `fixed`: it was written as an address, so that no DNS change can help."""

    def __init__(self, host: str, address: str) -> None:
        self.fixed = host == address
        where = host if self.fixed else f"{host} ({address})"
        super().__init__(f"{where} is not a public address; net.allow_networks lists the private ones that may be used")


class Unanswered(Exception):
    """No answer within the deadline, or no connection at all."""


@dataclass(frozen=True)
class Answer:
    """`text` is at most 64 KiB of the body."""

    status: int
    headers: httpx.Headers
    text: str


def allowed_networks(setting: Sequence[Network] | None, *, loopback: bool) -> tuple[Network, ...]:
    """The private networks that may be reached; where none are set, this machine if we serve only it (`loopback`)."""
    if setting is not None:
        return tuple(setting)
    return LOOPBACK if loopback else ()


def allowed(address: Address, networks: Iterable[Network]) -> bool:
    """Whether an address may be connected to: a public one, or one in `networks`."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in networks if network.version == address.version):
        return True
    return address.is_global and not address.is_multicast and (address.version == 6 or address not in SHARED)


def check_url(url: str, networks: Sequence[Network]) -> None:
    """Raises: Invalid when messages could never go there: no http(s), no host, a login in it, a forbidden address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as wrong:
        raise Invalid.field("url", f"is no web address: {wrong}") from wrong
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid.field("url", "must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise Invalid.field("url", "must not contain a user name or password")
    literal = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host
    try:
        address = ipaddress.ip_address(literal)
    except ValueError:
        return  # a name: checked when it is connected to
    if not allowed(address, networks):
        raise Invalid.field("url", str(Blocked(host, host)))


async def resolved(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects to what a name resolves to, if every address of it is allowed."""

    def __init__(self, networks: Sequence[Network], resolve: Resolve = resolved) -> None:
        self.networks = networks
        self.resolve = resolve
        self.inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 — httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self.resolve(host, port)
        except OSError as unknown:
            raise httpcore.ConnectError(f"{host} is unknown: {unknown}") from unknown
        for address in addresses:
            if not allowed(ipaddress.ip_address(address.partition("%")[0]), self.networks):
                raise Blocked(host, address)
        refusal: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self.inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as refused:
                refusal = refused
        raise refusal

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Transport(httpx.AsyncHTTPTransport):
    """httpx's own, with the guard where it connects."""

    def __init__(self, networks: Sequence[Network], resolve: Resolve = resolved) -> None:
        super().__init__(verify=ssl.create_default_context(), trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=200,
            max_keepalive_connections=20,
            keepalive_expiry=15,
            network_backend=Guarded(networks, resolve),
        )


class Http:
    """`deadline_secs` bounds one request from the first packet to the last, whatever the receiver does."""

    def __init__(self, networks: Sequence[Network], *, deadline_secs: float, resolve: Resolve = resolved) -> None:
        self.deadline_secs = deadline_secs
        self.slots = Slots()
        self.client = httpx.AsyncClient(
            transport=Transport(networks, resolve),
            timeout=deadline_secs,
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "llm-incident-manager"},
        )

    async def __aenter__(self) -> "Http":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def post(self, url: str, content: bytes, headers: dict[str, str]) -> Answer:
        """Raises: Unanswered, Blocked, slots.Busy."""
        try:
            async with self.slots.of(urlsplit(url).netloc), asyncio.timeout(self.deadline_secs):
                return await self._post(url, content, headers)
        except TimeoutError as late:
            raise Unanswered(f"no answer within {self.deadline_secs:g} s") from late
        except httpx.HTTPError as failed:
            raise Unanswered(str(failed) or type(failed).__name__) from failed

    async def _post(self, url: str, content: bytes, headers: dict[str, str]) -> Answer:
        async with self.client.stream("POST", url, content=content, headers=headers) as sent:
            body = b""
            async for chunk in sent.aiter_bytes():
                body += chunk
                if len(body) >= READ_AT_MOST:
                    break
            return Answer(sent.status_code, sent.headers, body[:READ_AT_MOST].decode(errors="replace"))
