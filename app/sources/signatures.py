"""Signatures of posts, over the very bytes that came, compared in constant time."""

import hmac
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from app.sources.base import Forged, Post, Stale

TOLERANCE_SECS = 300
"""How old a signed post may be, or how far its sender's clock ahead (Standard Webhooks' own)."""

STANDARD = re.compile(r"(?:whsec_)?[A-Za-z0-9+/]+={0,2}")
UNUSABLE = "A secret in intake.tools is none of Standard Webhooks: whsec_ and base64."


def hmac_sha256(secret: str, content: bytes) -> str:
    """64 hex digits."""
    return hmac.new(secret.encode(), content, sha256).hexdigest()


def check_hex(post: Post, secrets: Sequence[str], given: str | None, content: bytes) -> None:
    """Whether `given` is the hex HMAC-SHA256 of the content under one of the secrets. Raises: Forged."""
    said = (given or "").strip().lower().encode("utf-8", "replace")
    if not any(hmac.compare_digest(hmac_sha256(secret, content).encode(), said) for secret in secrets):
        raise Forged("The signature is missing or wrong." if said else "The signature is missing.")


def check_age(at: datetime, signed_at: str | None) -> None:
    """Whether a post was signed about now, in seconds since 1970. Raises: Stale; Forged where it doesn't say when."""
    try:
        age = at.timestamp() - float(signed_at or "")
    except ValueError:
        raise Forged("The signature's timestamp is missing or no number.") from None
    if not abs(age) <= TOLERANCE_SECS:
        raise Stale(
            f"It was signed {abs(age):.0f} s {'ago' if age > 0 else 'in the future'}; {TOLERANCE_SECS} s are allowed."
        )


def header(name: str, *, prefix: str = "") -> Callable[[Post, Sequence[str]], None]:
    """Checks the hex HMAC-SHA256 of the body in a header, like GitHub's and Sentry's."""

    def verify(post: Post, secrets: Sequence[str]) -> None:
        check_hex(post, secrets, post.headers.get(name, "").removeprefix(prefix), post.body)

    return verify


def standard_webhooks(post: Post, secrets: Sequence[str]) -> None:
    """https://www.standardwebhooks.com, as OpenAI and Anthropic sign. Raises: Forged, Stale."""
    signed_at, name = post.headers.get("webhook-timestamp", ""), post.headers.get("webhook-id", "")
    check_age(post.at, signed_at)
    moment, body = datetime.fromtimestamp(int(float(signed_at)), UTC), post.body.decode("utf-8", "replace")
    wanted = [_signer(secret).sign(name, moment, body).encode() for secret in secrets]
    given = post.headers.get("webhook-signature", "").encode("utf-8", "replace").split()
    if not name or not any(hmac.compare_digest(one, said) for one in wanted for said in given):
        raise Forged("The signature is missing or wrong.")


def no_secrets(secrets: Sequence[str]) -> str | None:
    """Why Standard Webhooks can't be signed with one of them."""
    try:
        for secret in secrets:
            _signer(secret)
    except Forged as no:
        return no.message
    return None if all(map(STANDARD.fullmatch, secrets)) else UNUSABLE


def _signer(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError) as no:
        raise Forged(UNUSABLE) from no
