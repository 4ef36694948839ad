"""The one way out over HTTP: a total deadline, no redirects, no proxies, and only to addresses that are allowed.

Names resolve anew at each connection, so the address is checked where it is connected to, not where it is written.
"""

import asyncio
import copy
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpcore
import httpx

from app.domain.errors import Invalid
from app.net.breakers import Breakers, Call, unbroken
from app.net.slots import Slots

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only public part of IPv6 (RFC 4291 §2.4)."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 in its last 32 bits (RFC 6052)."""
INWARD = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("168.63.129.16"))
"""Global by their number, but a cloud's own: Oracle's metadata (RFC 6890's block) and Azure's host agent."""
HEADERS = {"user-agent": "llm-incident-manager", "accept": "*/*", "accept-encoding": "identity"}
SENDABLE = re.compile(r"[!-~](?:[\t -~]*[!-~])?|")
"""What a header can say (RFC 9110 §5.5, without what is obsolete)."""
READ_AT_MOST = 65_536
LOOK_UPS_AT_ONCE = 32


class Blocked(Exception):
    """The address must not be reached, or not now: what a name stands for may change."""

    def __init__(self, host: str, address: str) -> None:
        where = host if host == address else f"{host} ({address})"
        super().__init__(f"{where} is not a public address; net.allow_networks lists the private ones that may be used")


class Unanswered(Exception):
    """No answer within the deadline, or no connection at all."""


@dataclass(frozen=True)
class Answer:
    """`text` is the beginning of the body: 64 KiB, unless more was asked for."""

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
    if isinstance(address, ipaddress.IPv6Address):
        address = ipv4_within(address) or address
    if any(address in network for network in networks):
        return True
    if not address.is_global or address.is_multicast or any(address in network for network in INWARD):
        return False
    return address.version == 4 or address in UNICAST


def ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets end up at, for an IPv6 one that merely carries it (mapped, 6to4, NAT64)."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def check_url(url: str, networks: Sequence[Network]) -> None:
    """Raises: Invalid when messages could never go there: no http(s), no host, a login in it, a forbidden address."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as wrong:
        raise Invalid.field("url", f"is no web address: {wrong}") from wrong
    if parts.scheme not in ("http", "https") or not parts.host:
        raise Invalid.field("url", "must begin with http:// or https:// and name a host")
    if parts.port is not None and not 0 < parts.port < 65_536:
        raise Invalid.field("url", "must have a port between 1 and 65535")
    if parts.userinfo:
        raise Invalid.field("url", "must not contain a user name or password")
    host = parts.raw_host.decode()
    address = literal(host)
    if address is not None and not allowed(address, networks):
        raise Invalid.field("url", str(Blocked(host, host)))


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises: Invalid, which names the header and not what it says: that may be a secret."""
    for name, value in headers.items():
        if not (SENDABLE.fullmatch(name) and SENDABLE.fullmatch(value)):
            raise Invalid.field(f"headers.{name[:100]}", "has a character that no header can have, or ends in a blank")


def literal(host: str) -> Address | None:
    """The address that a host is written as, in every spelling that `getaddrinfo` takes; None for a name."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


class Names:
    """Looks names up, each once at a time: a name server that hangs costs one thread, however many wait for it."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "names")
        self.under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Raises: OSError, or UnicodeError for what cannot be a name."""
        key = (host, port)
        if key not in self.under_way:
            asked = asyncio.get_running_loop().run_in_executor(self.threads, addresses, host, port)
            self.under_way[key] = asked
            asked.add_done_callback(lambda done: (self.under_way.pop(key), done.cancelled() or done.exception()))
        return await asyncio.shield(self.under_way[key])

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


def addresses(host: str, port: int) -> list[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects to what a name resolves to, if every address of it is allowed."""

    def __init__(self, networks: Sequence[Network], resolve: Resolve) -> None:
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
        """`timeout` is shared out evenly, so that a dead address leaves time for the next one."""
        try:
            found = await self.resolve(host, port)
        except (OSError, UnicodeError) as unknown:
            raise httpcore.ConnectError(f"{host} is unknown: {unknown}") from unknown
        for address in found:
            if not allowed(ipaddress.ip_address(address), self.networks):
                raise Blocked(host, address)
        refusal: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in found:
            share = timeout and timeout / len(found)
            try:
                return await self.inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as refused:
                refusal = refused
        raise refusal

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Transport(httpx.AsyncHTTPTransport):
    """httpx's own, with the guard where it connects. `ca_path`: a PEM file to trust instead of the system's CAs.

    `shown`: the PEM files of the certificate and key by which we are known (mTLS).
    """

    def __init__(self, guard: Guarded, ca_path: Path | None = None, shown: tuple[Path, Path] | None = None) -> None:
        trust = ssl.create_default_context(cafile=ca_path)
        if shown is not None:
            trust.load_cert_chain(*shown)
        super().__init__(verify=trust, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=200,
            max_keepalive_connections=20,
            keepalive_expiry=15,
            network_backend=guard,
        )


class Http:
    """A transport without a client: it knows no redirect and no cookie, so no receiver can make it stumble over one.

    `deadline_secs` bounds one request from the first packet to the last, whatever the receiver does. Each goes through
    the circuit breaker of what is asked: of its host, unless it was given a name. `at_latest` is how long after one
    has opened it may be probed from here, whatever its recovery says.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        *,
        deadline_secs: float = 10,
        resolve: Resolve | None = None,
        slots: Slots | None = None,
        breakers: Breakers | None = None,
        at_latest: timedelta | None = None,
    ) -> None:
        self.networks = networks
        self.breakers = breakers
        self.at_latest = at_latest
        self.dependency: Callable[[httpx.URL], str | None] = _host("http")
        self.deadline_secs = deadline_secs
        self.slots = slots or Slots()
        self.names = Names()
        self.guard = Guarded(networks, resolve or self.names)
        self.transport = Transport(self.guard)
        self.trusts: dict[tuple[Path | None, tuple[Path, Path] | None], Transport] = {}
        self.timeout = httpx.Timeout(deadline_secs, connect=deadline_secs / 2).as_dict()

    async def __aenter__(self) -> "Http":
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in (self.transport, *self.trusts.values()):
            await transport.aclose()
        self.names.close()

    def named(self, dependency: str | None) -> "Http":
        """The same way out to one dependency, behind the breaker of that name; None: behind none, to see who is up."""
        view = copy.copy(self)
        view.dependency = lambda _: dependency
        return view

    def by_host(self, kind: str) -> "Http":
        """The same way out to many of a kind, each host behind a breaker of its own: `kind:host`."""
        view = copy.copy(self)
        view.dependency = _host(kind)
        return view

    def by_address(self, kind: str) -> "Http":
        """The same way out to many of a kind, each address behind a breaker of its own: `kind:host~` and a digest.

        Hosts that serve many (Teams, Zapier, a gateway) answer one who is ill with 503 and all others well.
        """
        view = copy.copy(self)
        view.dependency = lambda url: f"{kind}:{url.netloc.decode()}~{sha256(str(url).encode()).hexdigest()[:8]}"
        return view

    def calling(self, dependency: str | None) -> AbstractContextManager[Call]:
        """Around what goes another way than by HTTP. Raises: breakers.Open, and then nothing was sent."""
        if self.breakers is None or dependency is None:
            return unbroken()
        return self.breakers.call(dependency, self.at_latest)

    def trusting(self, ca_path: Path | None, shown: tuple[Path, Path] | None = None) -> "Http":
        """The same way out to servers that show a certificate of that CA (a PEM file; None = the system's CAs), and

        want to be `shown` one: certificate and key, PEM files. Closed together with this one.

        Raises: OSError when a file can't be read as such.
        """
        key = (ca_path, shown)
        if key not in self.trusts:
            self.trusts[key] = Transport(self.guard, ca_path, shown)
        view = copy.copy(self)
        view.transport = self.trusts[key]
        return view

    async def post(
        self, url: str, content: bytes, headers: dict[str, str], *, read_at_most: int = READ_AT_MOST
    ) -> Answer:
        """Raises: Invalid when it can never go there, Blocked, Unanswered, slots.Busy, breakers.Open."""
        return await self._send("POST", url, content, headers, read_at_most)

    async def get(self, url: str, headers: dict[str, str], *, read_at_most: int = READ_AT_MOST) -> Answer:
        """Raises: Invalid when it can never go there, Blocked, Unanswered, slots.Busy, breakers.Open."""
        return await self._send("GET", url, b"", headers, read_at_most)

    async def request(
        self, method: str, url: str, content: bytes, headers: dict[str, str], *, read_at_most: int = READ_AT_MOST
    ) -> Answer:
        """Any method. Raises: Invalid when it can never go there, Blocked, Unanswered, slots.Busy, breakers.Open."""
        return await self._send(method, url, content, headers, read_at_most)

    async def _send(self, method: str, url: str, content: bytes, headers: dict[str, str], read_at_most: int) -> Answer:
        check_url(url, self.networks)
        check_headers(headers)
        request = httpx.Request(
            method, url, headers=HEADERS | headers, content=content, extensions={"timeout": self.timeout}
        )
        try:
            with self.calling(self.dependency(request.url)) as call:
                async with self.slots.of(request.url.netloc.decode()):
                    until = asyncio.get_running_loop().time() + self.deadline_secs
                    async with asyncio.timeout_at(until):
                        answer = await self.transport.handle_async_request(request)
                    if answer.status_code >= 500:
                        call.failed()
                    return Answer(answer.status_code, answer.headers, await beginning(answer, until, read_at_most))
        except TimeoutError as late:
            raise Unanswered(f"no answer within {self.deadline_secs:g} s") from late
        except httpx.HTTPError as failed:
            raise Unanswered(str(failed) or type(failed).__name__) from failed

    async def answers(self, url: str) -> str | None:
        """Why nobody can be connected to at an address; None when somebody can. Nothing is sent."""
        try:
            check_url(url, self.networks)
            parts = httpx.URL(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            stream = await self.guard.connect_tcp(parts.raw_host.decode(), port, self.deadline_secs)
            await stream.aclose()
        except (Invalid, Blocked, httpcore.ConnectError, httpcore.ConnectTimeout) as no:
            return str(no) or "no answer"
        return None


def _host(kind: str) -> Callable[[httpx.URL], str]:
    return lambda url: f"{kind}:{url.netloc.decode()}"


async def beginning(answer: httpx.Response, until: float, read_at_most: int) -> str:
    """What came of the body by then, as it was sent. Its end is not needed: the status has said what counts."""
    body = b""
    try:
        async with asyncio.timeout_at(until):
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) >= read_at_most:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        await answer.aclose()
    return body[:read_at_most].decode(errors="replace")
