"""Links that carry a right: signed, bound to what they are for, and of limited life.

Source of the format: https://itsdangerous.palletsprojects.com (URLSafeTimedSerializer, HMAC-SHA256).
"""

from dataclasses import dataclass
from hashlib import sha256

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import ValidationError

from app.domain.record import Record

PURPOSE = "one-click"


class Click(Record):
    """What a link is good for: one deed, of one person, on one thing: an incident, or a step of a run (`run/step`)."""

    about: str
    user: str
    action: str = "acknowledge"


class BadLink(Exception):
    """The link is not one of ours, or its time is over."""


@dataclass(frozen=True)
class Signer:
    """`max_age_secs` counts from the moment a link is made."""

    secret: bytes
    max_age_secs: float

    def sign(self, click: Click) -> str:
        """A token for a URL: letters, digits, `-`, `_` and `.`."""
        signed = self._serializer().dumps([click.about, click.user, click.action])
        return signed.decode() if isinstance(signed, bytes) else signed

    def read(self, token: str) -> Click:
        """What a token is good for. Raises: BadLink."""
        try:
            about, user, action = self._serializer().loads(token, max_age=round(self.max_age_secs))
            return Click(about=about, user=user, action=action)
        except (BadData, ValidationError, ValueError, TypeError) as bad:
            raise BadLink from bad

    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt=PURPOSE, signer_kwargs={"digest_method": sha256})
