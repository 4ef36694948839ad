"""The one way out over gRPC: to the addresses a name has now, if every one of them is allowed.

gRPC would look names up by itself, and connect to whatever they mean then; it is given the addresses instead.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx

from app.net.http import Blocked, Http, Unanswered, allowed, check_url

LARGEST = 4 << 20
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # whoever calls counts the tries
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.keepalive_time_ms", 20_000),  # a peer that is gone without a word is noticed within half a minute
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True)
class Identity:
    """PEM files: the CA to trust (None = the system's), our certificate and its key."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


async def channel(http: Http, url: str, identity: Identity) -> grpc.aio.Channel:
    """A channel to https://host[:port], or without TLS to http://host[:port]; the caller closes it.

    Raises: Invalid, Blocked, Unanswered; OSError when a file can't be read.
    """
    check_url(url, http.networks)
    parts = httpx.URL(url)
    host, port = parts.raw_host.decode(), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await http.guard.resolve(host, port)
    except (OSError, UnicodeError) as unknown:
        raise Unanswered(f"{host} is unknown: {unknown}") from unknown
    target = _target(host, port, found, http)
    options = [*OPTIONS, ("grpc.default_authority", parts.netloc.decode())]
    if parts.scheme == "http":
        return grpc.aio.insecure_channel(target, options)
    ca, key, cert = (path.read_bytes() if path else None for path in (identity.ca, identity.key, identity.cert))
    options.append(("grpc.ssl_target_name_override", host))
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert), options)


def _target(host: str, port: int, found: Sequence[str], http: Http) -> str:
    """gRPC's name for addresses, of one family. Raises: Blocked, Unanswered."""
    addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in found]
    for address in addresses:
        if not allowed(address, http.networks):
            raise Blocked(host, str(address))
    if not addresses:
        raise Unanswered(f"{host} has no address")
    family = addresses[0].version
    those = [str(one) if family == 4 else f"[{one}]" for one in addresses if one.version == family]
    return f"ipv{family}:" + ",".join(f"{one}:{port}" for one in those)
