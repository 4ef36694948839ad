"""Refusals: a stable code for machines, a sentence with a way out for people."""

from collections.abc import Mapping, Sequence


class Refused(Exception):
    """A request that cannot be granted as it stands. `code` is stable; `details` is a JSON object or list."""

    code = "PROCESSING_ERROR"

    def __init__(self, message: str, details: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Invalid(Refused):
    """The input breaks a rule. `details` lists `{field, message}` for every broken one."""

    code = "VALIDATION_ERROR"

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        return cls(f"{field}: {message}", [{"field": field, "message": message}])

    @classmethod
    def fields(cls, problems: Sequence[Mapping[str, str]]) -> "Invalid":
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls(f"{first['field']}: {first['message']}{more}", [dict(problem) for problem in problems])


class TooLarge(Refused):
    code = "PAYLOAD_TOO_LARGE"


class Unauthenticated(Refused):
    code = "AUTHENTICATION_ERROR"


class InvalidToken(Unauthenticated):
    """A key or token was shown, and opens nothing. What was shown is never in the message."""


class Forbidden(Refused):
    code = "AUTHORIZATION_ERROR"


class NotFound(Refused):
    code = "NOT_FOUND"

    def __init__(self, kind: str, id: str) -> None:  # noqa: A002
        super().__init__(f"There is no {kind} {id!r}.", {"kind": kind, "id": id})


class Conflict(Refused):
    """Somebody else got there first, or the request contradicts an earlier one."""

    code = "CONFLICT"


class InvalidTransition(Refused):
    """The incident cannot go from the one status to the other. Names both, and what is possible instead."""

    code = "INVALID_STATE_TRANSITION"

    def __init__(self, current: str, wanted: str, allowed: Sequence[str] = ()) -> None:
        instead = f"; from {current} it can go to {', '.join(allowed)}" if allowed else ""
        super().__init__(
            f"An incident that is {current} cannot become {wanted}{instead}.",
            {"from": current, "to": wanted, "allowed": list(allowed)},
        )


class Unavailable(Refused):
    """A part the request needs is away. Nothing half-done; asking again later is right."""

    code = "SERVICE_UNAVAILABLE"

    def __init__(self, part: str, message: str, retry_after: int = 1) -> None:
        super().__init__(message, {"component": part})
        self.part = part
        self.retry_after = retry_after


class RateLimited(Refused):
    """`limit` is in requests per minute, `retry_after` in seconds."""

    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, message: str, limit: int = 0, retry_after: int = 1) -> None:
        super().__init__(message, {"limit": limit, "retry_after": retry_after} if limit else None)
        self.limit = limit
        self.retry_after = retry_after


def refusal(code: str, message: str, details: object) -> Refused:
    """The refusal that a workflow gave as its code, message and details."""
    kind = next((k for k in (Invalid, Conflict, InvalidTransition, NotFound, Forbidden) if k.code == code), Refused)
    given = kind.__new__(kind)
    Refused.__init__(given, message, details)
    return given
