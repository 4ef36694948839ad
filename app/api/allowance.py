"""What is left of a client's rate limit, told in every answer's headers."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.access import Allowance

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def headers(allowance: Allowance) -> Mapping[str, str]:
    """The reset is in seconds from now."""
    return dict(zip(HEADERS, map(str, allowance), strict=True))


class Told:
    """Adds them to the answers of those whose request was counted: whoever counts leaves `request.state.allowance`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def telling(message: Message) -> None:
            allowance: Allowance | None = state.get("allowance")
            if allowance is not None and message["type"] == "http.response.start":
                told = headers(allowance).items()
                message["headers"] = [*message["headers"], *((k.lower().encode(), v.encode()) for k, v in told)]
            await send(message)

        await self.app(scope, receive, telling)
