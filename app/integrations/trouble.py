"""The one way in which a question to Sentinel, Shield, Edge-Agent or Governance fails."""

from collections.abc import Iterable

from app.redaction import ALL_OUT

SHOWN = 200


class Trouble(Exception):
    """There is no answer, or none of use. The text is for people, on one line, and holds no secret.

    `passing`: asking again may help, after `retry_after_secs` where the other side, or our breaker, says so.
    `doubtful`: what was asked for may have been done all the same. `ill` is what its breaker hears: the other side
    isn't well, or, False, it is, and said no; None: nothing was learned about it.
    """

    def __init__(
        self,
        message: str,
        *,
        passing: bool = False,
        retry_after_secs: float | None = None,
        doubtful: bool = False,
        ill: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.passing = passing
        self.retry_after_secs = retry_after_secs
        self.doubtful = doubtful
        self.ill = ill


class Unasked(Trouble):
    """Nobody was asked: its circuit breaker is open."""


class NotOffered(Trouble):
    """The other side's API, in the dialect that is set, has nothing like it."""


def line(text: str, secrets: Iterable[str] = ()) -> str:
    """What somebody said, short, as one printable line, without our `secrets`, keys and personal data in it."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    plain = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * SHOWN])
    return ALL_OUT.text(" ".join(plain.split()))[:SHOWN]
