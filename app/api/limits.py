"""Bodies, as long as they may be."""

from starlette.requests import Request

from app.domain.errors import TooLarge


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


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {max_bytes:,} bytes allowed here.", {"max_bytes": max_bytes})
