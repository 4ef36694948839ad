"""How long, how deep and how clean a body may be, asked of the functions and of a real server."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable

import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.types import Message

from app.api import errors
from app.api.limits import read_body
from app.domain.errors import Invalid, TooLarge
from app.sources.strict_json import parse_json

LIMIT = 1000


class Upload:
    """A request whose body is handed out piece by piece; `read` counts the pieces that were asked for."""

    def __init__(self, pieces: Iterable[bytes], announced: str | None = None) -> None:
        self.pieces = iter(pieces)
        self.read = 0
        headers = [(b"content-length", announced.encode())] if announced else []
        self.request = Request({"type": "http", "method": "POST", "headers": headers}, self.receive)

    async def receive(self) -> Message:
        self.read += 1
        piece = next(self.pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}


@pytest.mark.parametrize("announced", ["1001", "300000000", "9" * 5000])
async def test_an_announced_excess_is_refused_unread(announced: str) -> None:
    upload = Upload([b"x"], announced)
    with pytest.raises(TooLarge, match="1,000 bytes"):
        await read_body(upload.request, LIMIT)
    assert upload.read == 0


async def test_an_unannounced_excess_is_read_up_to_the_limit_only() -> None:
    upload = Upload(b"x" * 100 for _ in range(1_000_000))
    with pytest.raises(TooLarge):
        await read_body(upload.request, LIMIT)
    assert upload.read == 11


async def test_a_body_of_just_the_limit_is_taken() -> None:
    assert await read_body(Upload([b"x" * 400, b"y" * 600], "1000").request, LIMIT) == b"x" * 400 + b"y" * 600
    assert await read_body(Upload([]).request, LIMIT) == b""


DEEP = 10_000


@pytest.mark.parametrize(("raw", "field", "message"), [
    (b"", "body", "must be JSON, but is empty"),
    (b" ", "body", "must be JSON: input data is empty (line 1, column 1)"),
    (b'{"a"\n:}', "body", "must be JSON: unexpected character, expected a JSON value (line 2, column 2)"),
    (b'{"a": 1} {', "body", "must be JSON: unexpected content after document (line 1, column 10)"),
    (b'{"title": NaN}', "title", "must be a finite number"),
    (b'[{"a": [0, -Infinity]}]', "[0].a[1]", "must be a finite number"),
    (b'{"a": {"b": 1e400}}', "a.b", "must be a finite number"),
    (b'{"a": -1e400}', "a", "must be a finite number"),
    (b'{"a": "\\ud800"}', "a", "must not contain half a surrogate pair"),
    (b'{"a": "\\udc00\\ud800"}', "a", "must not contain half a surrogate pair"),
    (b'{"x\\ud800": 1}', "x\\ud800", "must not contain half a surrogate pair"),
    (b'{"a": "\xed\xa0\x80"}', "body", "must be UTF-8; byte 7 is not"),
    (b'{"a": "\xff"}', "body", "must be UTF-8; byte 7 is not"),
    (b'{"a": ["\\u0000"]}', "a[0]", "must not contain the character NUL"),
    (b'{"a": "\\\\\\u0000"}', "a", "must not contain the character NUL"),
    (b'{"k\\u0000": 1}', "k\\u0000", "must not contain the character NUL"),
    (b'{"a": "\x00"}', "a", "must not contain the character NUL"),
    (b'{"a": "' + b"x" * 300_000 + b'\\u0000"}', "body", "must not contain the character NUL"),
    (b"[" * 65 + b"]" * 65, "body", "must not be nested deeper than 64 levels"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "body", "must not be nested deeper than 64 levels"),
    (b"[" * DEEP + b"]" * DEEP, "body", "must not be nested deeper than 64 levels"),
    (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "body", "must not be nested deeper than 64 levels"),
    (b"[" * 400_000, "body", "must not be nested deeper than 64 levels"),
    (b"[" + b"[]," * 500_000 + b"[]]", "body", "must not hold more than 500,000 objects and lists"),
    (b"[" * 300 + b"NaN" + b"]" * 300, "body", "must not be nested deeper than 64 levels"),
])  # fmt: skip
def test_what_is_wrong_and_where(raw: bytes, field: str, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_json(raw)
    assert refusal.value.details == [{"field": field, "message": message}]


@pytest.mark.parametrize(("raw", "value"), [
    (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
    (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    (b'[1, 2.5, true, null, "\xc3\xa9"]', [1, 2.5, True, None, "é"]),
    (b"[" + b",".join([b"{}"] * 1000) + b"]", [{}] * 1000),
    (b"5", 5),
])  # fmt: skip
def test_what_is_clean_is_taken(raw: bytes, value: object) -> None:
    assert parse_json(raw) == value


def test_64_levels_are_taken() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64) is not None
    assert parse_json(b'{"a":' * 64 + b"1" + b"}" * 64) is not None


def test_a_huge_number_is_refused_though_no_parser_can_say_where() -> None:
    with pytest.raises(Invalid, match="body: must be JSON"):
        parse_json(b"[" + b"1" * 5000 + b"]")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[int]:
    """The port of an application that reads bodies of up to 1,000 bytes."""
    app = FastAPI()
    errors.install(app)

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await read_body(request, LIMIT))

    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", http="httptools"))
    serving = asyncio.create_task(running.serve([listening]))
    yield listening.getsockname()[1]
    running.should_exit = True
    await serving


async def answer_to(port: int, headers: str, chunk: bytes = b"", chunks: int = 0) -> tuple[bytes, int]:
    """Everything a server says before it hangs up, and how much of the body was sent until then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode())
    hearing = asyncio.create_task(reader.read())
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < chunks and not hearing.done():
            writer.write(chunk)
            await writer.drain()
            sent += 1
    said = await asyncio.wait_for(hearing, 10)
    writer.close()
    return said, sent


async def test_300_megabytes_are_refused_by_their_header(server: int) -> None:
    said, _ = await answer_to(server, "Content-Length: 300000000")
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"PAYLOAD_TOO_LARGE" in said


async def test_an_endless_upload_is_cut_off(server: int) -> None:
    try:
        said, sent = await answer_to(
            server, "Transfer-Encoding: chunked", b"400\r\n" + b"x" * 1024 + b"\r\n", 1_000_000
        )
    except ConnectionResetError:  # hung up on while still talking, before the answer was read
        return
    assert said.startswith(b"HTTP/1.1 413 ")
    assert sent < 100_000


async def test_a_body_within_the_limit_keeps_the_connection(server: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(1) == b"2"
    writer.close()
