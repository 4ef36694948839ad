"""The sockets that are listened on, and how a process hands them to the next one."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping

from app.child import CannotStart

STUCK_MS = 30_000
"""Who takes nothing for so long is gone (chosen)."""
INHERITED = "LLM_IM_LISTENING"
"""The variable that tells a child which ports are listened on for it: `8080=5,3000=6`, port and file descriptor."""
NONE_INHERITED: Mapping[int, int] = {}


def inherited(environment: Mapping[str, str]) -> Mapping[int, int]:
    """Port → file descriptor of a socket that a parent has left open for this process."""
    pairs = (pair.split("=") for pair in environment.get(INHERITED, "").split(",") if pair)
    return {int(port): int(descriptor) for port, descriptor in pairs}


def told(sockets: Mapping[int, socket.socket]) -> dict[str, str]:
    """What a child's environment says of the sockets that are left open for it."""
    return {INHERITED: ",".join(f"{port}={one.fileno()}" for port, one in sockets.items())}


def bound(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens there. Raises: CannotStart naming the port and its setting."""
    with explained(host, port, setting):
        # A name with both kinds of address (localhost): IPv4, which every client tries.
        family, _, _, _, address = min(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        made = socket.create_server((str(address[0]), port), family=family, backlog=2048)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)
    return made


@contextlib.contextmanager
def explained(host: str, port: int, setting: str) -> Iterator[None]:
    """Raises: CannotStart in place of an OSError, naming the port and its setting."""
    try:
        yield
    except OSError as refusal:
        reason = os.strerror(refusal.errno) if refusal.errno and refusal.errno > 0 else str(refusal)
        raise CannotStart(f"port {port} on {host} ({setting}) cannot be had: {reason}") from refusal
