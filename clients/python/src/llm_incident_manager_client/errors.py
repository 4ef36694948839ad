"""Why a request did not succeed."""

from collections.abc import Mapping
from typing import Any


class IncidentManagerError(Exception):
    """Every error of this client is one."""


class BadAddress(IncidentManagerError):
    """No server can be at the address that was given."""


class Unreachable(IncidentManagerError):
    """No answer came. Whether a write was carried out is not known."""


class BadAnswer(IncidentManagerError):
    """What answered is not this service, or speaks of something else than was asked for."""


class Refused(IncidentManagerError):
    """The server said no. `code` and `details` are its own; `retry_after` are the seconds that it asks to wait.

    `status` is HTTP's; for a refusal over GraphQL it is the one that REST would have.
    """

    def __init__(
        self, code: str, message: str, details: object = None, status: int = 500, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details
        self.status = status
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """It may succeed later, as it is."""
        return self.status in PASSING


class Invalid(Refused):
    """Something in the request is not allowed; `details` names the fields."""


class Unauthenticated(Refused):
    """No API key, or one that is not valid."""


class Forbidden(Refused):
    """The key's role may not do that."""


class NotFound(Refused):
    pass


class Conflict(Refused):
    """Not in the state that it is in."""


class RateLimited(Refused):
    pass


class Unavailable(Refused):
    """A part of the service is away."""


PASSING = frozenset({429, 502, 503, 504})
BY_STATUS: Mapping[int, type[Refused]] = {
    400: Invalid, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 413: Invalid, 429: RateLimited,
    502: Unavailable, 503: Unavailable, 504: Unavailable,
}  # fmt: skip
STATUS: Mapping[str, int] = {
    "VALIDATION_ERROR": 400, "COMPLEXITY_LIMITED": 400, "AUTHENTICATION_ERROR": 401, "UNAUTHENTICATED": 401,
    "AUTHORIZATION_ERROR": 403, "UNAUTHORIZED": 403, "NOT_FOUND": 404, "CONFLICT": 409,
    "INVALID_STATE_TRANSITION": 409, "PAYLOAD_TOO_LARGE": 413, "RATE_LIMIT_EXCEEDED": 429, "RATE_LIMITED": 429,
    "SERVICE_UNAVAILABLE": 503,
}  # fmt: skip
"""For refusals over GraphQL, which have a code and no status."""


def refusal(
    code: str, message: str, details: object = None, status: int | None = None, retry_after: float | None = None
) -> Refused:
    """The exception for a refusal of the server's."""
    known = STATUS.get(code, 500) if status is None else status
    return BY_STATUS.get(known, Refused)(code, message, details, known, retry_after)


def refusal_of(error: Mapping[str, Any]) -> Refused:
    """The exception for one of GraphQL's errors."""
    said = error.get("extensions") or {}
    code = said.get("reason") or said.get("code") or "INTERNAL_ERROR"
    return refusal(code, str(error.get("message")), said.get("details"))
