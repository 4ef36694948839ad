"""Ports to listen on, and why one cannot be had."""

import contextlib
import os
import socket
from collections.abc import Iterator

from app.child import CannotStart


def bound(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens. Raises: CannotStart naming the setting."""
    with explained(host, port, setting):
        # A name with both kinds of address (localhost): IPv4, which every client tries.
        family, _, _, _, address = min(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return socket.create_server((str(address[0]), port), family=family, backlog=2048)


@contextlib.contextmanager
def explained(host: str, port: int, setting: str) -> Iterator[None]:
    """Raises: CannotStart naming the setting, where the system refuses."""
    try:
        yield
    except OSError as refusal:
        reason = os.strerror(refusal.errno) if refusal.errno and refusal.errno > 0 else str(refusal)
        raise CannotStart(f"port {port} on {host} ({setting}) cannot be had: {reason}") from refusal
