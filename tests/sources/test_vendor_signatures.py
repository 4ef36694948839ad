"""Who signs is known by it: right, wrong, of another body, too old, while one secret replaces the other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.sources import SOURCES
from app.sources.base import Forged, Post, Stale
from tests.sources.posts import HELLO, NOW

WHSEC = "whsec_b3BlbmFpLXdlYmhvb2stc2VjcmV0LTMyYnl0ZXMhISE="
STANDARD = {
    "webhook-id": "evt_1", "webhook-timestamp": "1795405000",
    "webhook-signature": "v1,JoGVCgqTj5suFhxjovzPxCSD6qEdr37R523Zew3d3fY=",
}  # fmt: skip
SENTRY = {"sentry-hook-signature": "260a4d82492e6b461de6cf495547862f065012f82fd3d1e66dc1e2498054d262"}
GITHUB = {"x-hub-signature-256": "sha256=387838a2cb04ae6a5befa8a8e3307a9d52966b180440a0ae7e51e947192e72f8"}
SIGNED = {
    "openai": (WHSEC, STANDARD), "anthropic": (WHSEC, STANDARD), "sentry": ("sentry-client-secret", SENTRY),
    "github": ("gh-secret", GITHUB),
}  # fmt: skip
OLD = "whsec_" + "b2xk" * 8


def verify(name: str, post: Post, *secrets: str) -> None:
    check = SOURCES[name].verify
    assert check is not None
    check(post, secrets)


@pytest.mark.parametrize("name", SIGNED)
def test_a_good_signature_also_while_the_secret_is_being_replaced(name: str) -> None:
    secret, headers = SIGNED[name]
    for secrets in ((secret,), (OLD, secret), (secret, OLD)):
        verify(name, Post(HELLO, NOW, headers), *secrets)


@pytest.mark.parametrize("name", SIGNED)
def test_a_wrong_or_missing_signature_or_one_of_another_body(name: str) -> None:
    secret, headers = SIGNED[name]
    good = Post(HELLO, NOW, headers)
    for forged in (replace(good, body=HELLO + b" "), replace(good, headers={})):
        with pytest.raises(Forged):
            verify(name, forged, secret)
    for secrets in ((OLD,), ()):
        with pytest.raises(Forged):
            verify(name, good, *secrets)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_what_was_signed_long_ago_is_somebody_elses_copy(name: str) -> None:
    later = Post(HELLO, NOW + timedelta(minutes=6), STANDARD)
    with pytest.raises(Stale):
        verify(name, later, WHSEC)
    renamed = Post(HELLO, NOW, STANDARD | {"webhook-id": "evt_2"})
    with pytest.raises(Forged):
        verify(name, renamed, WHSEC)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_header_may_hold_several_signatures(name: str) -> None:
    several = STANDARD | {"webhook-signature": "v1,AAAA v2,zzz " + STANDARD["webhook-signature"]}
    verify(name, Post(HELLO, NOW, several), WHSEC)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_a"])
def test_a_secret_that_is_none_lets_nobody_in(secret: str) -> None:
    with pytest.raises(Forged, match="intake"):
        verify("openai", Post(HELLO, NOW, STANDARD), secret)


@pytest.mark.parametrize("name", ["statuspage", "datadog", "opik"])
def test_these_cannot_sign(name: str) -> None:
    assert SOURCES[name].verify is None
