"""Bodies, as long as they may be."""

import zlib

from starlette.requests import Request

from app.domain.errors import Invalid, TooLarge


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises: TooLarge before a byte beyond `max_bytes` is kept, or any is read if it was announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > max_bytes):
        raise _too_large(max_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def inflated(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body that `encoding`, a Content-Encoding, was made of. Raises: Invalid; TooLarge before it is that large."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() != "gzip":
        raise Invalid.field("Content-Encoding", "must be gzip, or left out")
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        whole = unpacking.decompress(body, max_bytes + 1)
    except zlib.error:
        raise Invalid.field("body", "is not gzip, though Content-Encoding says so") from None
    if len(whole) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacking.eof or unpacking.unused_data:
        raise Invalid.field("body", "must be one gzip, and whole")
    return whole


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {max_bytes:,} bytes allowed here.", {"max_bytes": max_bytes})
