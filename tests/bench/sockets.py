"""Live updates to many sockets: what each hears, how soon, and whether any hears something twice or not at all."""

import asyncio
import base64
import json
import os
import re
import struct
import time
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

from tests.bench.alerts import BODY
from tests.bench.report import Figure
from tests.bench.stack import fresh
from tests.bench.wire import HOST, ask, percentile, request

PER_SEC = 20
P95_MS = 500
INCIDENTS = 50
MARK = re.compile(rb'"reason":"n (\d+) ([0-9.]+)"')
QUERY = (
    "subscription IncidentUpdates($severities: [Severity!]) { incidentUpdates(severities: $severities,"
    " activeOnly: true) { updateType incidentId timestamp changes } }"
)
"""As the published client sends it."""
SEVERITIES = ["P0", "P1", "P2", "P3", "P4"]


@dataclass
class Heard:
    """What one socket heard: number → milliseconds since it was sent; and what it heard twice."""

    took: dict[int, float] = field(default_factory=dict)
    doubled: int = 0


class Listener(asyncio.Protocol):
    """One socket, with as little CPU as Python allows: frames from a server are not masked."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.acknowledged = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /graphql/ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            head, sign, rest = self.buffer.partition(b"\r\n\r\n")
            if not sign:
                return
            assert b" 101 " in head, head
            self.open, self.buffer = True, rest
            self.say({"type": "connection_init", "payload": {}})
        while (frame := self._frame()) is not None:
            self._take(*frame)

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self.buffer) < 2:
            return None
        size, at = self.buffer[1] & 127, 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            if len(self.buffer) < 2 + wide:
                return None
            size, at = int.from_bytes(self.buffer[2 : 2 + wide], "big"), 2 + wide
        if len(self.buffer) < at + size:
            return None
        opcode, payload = self.buffer[0] & 15, self.buffer[at : at + size]
        self.buffer = self.buffer[at + size :]
        return opcode, payload

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self._send(10, payload)
        elif b"connection_ack" in payload:
            variables = {"severities": SEVERITIES}
            self.say({"id": "1", "type": "subscribe", "payload": {"query": QUERY, "variables": variables}})
            self.acknowledged.set_result(None)
        elif found := MARK.search(payload):
            number = int(found[1])
            self.heard.doubled += number in self.heard.took
            self.heard.took.setdefault(number, (time.monotonic() - float(found[2])) * 1000)

    def say(self, message: object) -> None:
        self._send(1, json.dumps(message).encode())

    def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = bytes([128 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
        self.transport.write(bytes([128 | opcode]) + size + mask + masked)


async def figure(sockets: int, seconds: float) -> Figure:
    """Every socket listens to the same; comments are written on incidents, and each must reach each socket once."""
    async with fresh(LLM_IM__ML__ENABLED="false", LLM_IM__ENRICHMENT__ENABLED="false") as stack:
        opened = [await ask(stack.port, request("POST", "/api/v1/alerts", BODY % n)) for n in range(INCIDENTS)]
        incidents = cycle([answer["incident_id"] for answer in opened])
        loop = asyncio.get_running_loop()
        listeners = [(await loop.create_connection(Listener, HOST, stack.port))[1] for _ in range(sockets)]
        await asyncio.gather(*(listener.acknowledged for listener in listeners))
        await _until_all_listen(stack.port, listeners, next(incidents))
        answered: list[float] = []
        sending, due, count = [], time.monotonic(), round(PER_SEC * seconds)
        for number in range(1, count + 1):
            due += 1 / PER_SEC
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sending.append(asyncio.create_task(_comment(stack.port, next(incidents), number, answered)))
        await asyncio.gather(*sending)
        async with asyncio.timeout(30):
            while any(len(listener.heard.took) <= count for listener in listeners):
                await asyncio.sleep(0.1)
        for listener in listeners:
            listener.transport.close()
    took = [ms for listener in listeners for number, ms in listener.heard.took.items() if number]
    lost = sum(count + 1 - len(listener.heard.took) for listener in listeners)
    doubled = sum(listener.heard.doubled for listener in listeners)
    p50, p95, p99 = (percentile(took, share) for share in (0.50, 0.95, 0.99))
    return Figure(
        f"{sockets} sockets × {PER_SEC} events/s",
        f"{sockets} WebSockets with the published client's incidentUpdates; {count} comments by POST on {INCIDENTS} "
        f"incidents in {seconds:.0f} s, each an update of a workflow, projected, and pushed to every socket; from "
        "just before the POST until the socket has it; sockets, stack and senders share the cores.",
        f"{len(took):,} heard, {lost} lost, {doubled} doubled; p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms",
        f"nothing lost or doubled, p95 ≤ {P95_MS} ms",
        not lost and not doubled and p95 <= P95_MS,
        f"the POST's own answer: p50 {percentile(answered, 0.5):.0f}, p95 {percentile(answered, 0.95):.0f} ms",
    )


async def _until_all_listen(port: int, listeners: list[Listener], incident: str) -> None:
    """Number 0 is said until all have heard it; hearing it again is no doubling."""
    async with asyncio.timeout(60):
        while not all(0 in listener.heard.took for listener in listeners):
            await _comment(port, incident, 0, [])
            await asyncio.sleep(0.2)
    for listener in listeners:
        listener.heard.doubled = 0


async def _comment(port: int, incident: str, number: int, answered: list[float]) -> None:
    began = time.monotonic()
    body = json.dumps({"content": f"n {number} {began:.6f}"}).encode()
    await ask(port, request("POST", f"/api/v1/incidents/{incident}/comments", body))
    answered.append((time.monotonic() - began) * 1000)
