"""Signatures of posts as a saved mapping describes them."""

import base64
import hmac
from collections.abc import Callable, Sequence

from app.domain.mapping import Encoding, Scheme, Signature
from app.sources.base import Forged, Post
from app.sources.signatures import check_age, standard_webhooks


def verifier(said: Signature) -> Callable[[Post, Sequence[str]], None]:
    """What checks them. Raises, when it does: Forged, Stale."""

    def verify(post: Post, secrets: Sequence[str]) -> None:
        header = post.headers.get((said.header or "").lower(), "")
        signed_at = _signed_at(said, post, header)
        around = [part.replace("{timestamp}", signed_at or "") for part in said.content.split("{body}")]
        content = post.body.join(part.encode("utf-8", "replace") for part in around)
        given = _given(said, header)
        wanted = [_encoded(said, hmac.new(secret.encode(), content, said.algorithm).digest()) for secret in secrets]
        if not any(hmac.compare_digest(one, each) for one in wanted for each in given):
            raise Forged("The signature is missing or wrong." if given else "The signature is missing.")
        if signed_at is not None:
            check_age(post.at, signed_at)

    return standard_webhooks if said.scheme is Scheme.STANDARD_WEBHOOKS else verify


def _signed_at(said: Signature, post: Post, header: str) -> str | None:
    """What stands for the moment, None where nothing is signed but the body."""
    if said.timestamp_header is not None:
        return post.headers.get(said.timestamp_header.lower(), "")
    return next(iter(_parts(header, said.timestamp_part)), "") if said.timestamp_part is not None else None


def _given(said: Signature, header: str) -> list[bytes]:
    """The signatures shown: several while a secret is replaced."""
    found = _parts(header, said.part) if said.part is not None else [header]
    shown = [one.strip().removeprefix(said.prefix) for one in found]
    return [(one.lower() if said.encoding is Encoding.HEX else one).encode("utf-8", "replace") for one in shown if one]


def _parts(header: str, name: str) -> list[str]:
    pairs = (part.strip().partition("=") for part in header.split(","))
    return [value for found, _, value in pairs if found == name]


def _encoded(said: Signature, digest: bytes) -> bytes:
    return digest.hex().encode() if said.encoding is Encoding.HEX else base64.b64encode(digest)
