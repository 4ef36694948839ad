"""What Slack sends when somebody presses a button.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack (v0 signature over the raw body, ±300 s)
and https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
"""

import json
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from slack_sdk.signature import SignatureVerifier

from app.api.auth import visitor
from app.api.limits import read_body
from app.api.rest.wire import Served, served
from app.domain.errors import Invalid, NotFound, Unauthenticated
from app.service.chatops import Press

router = APIRouter(prefix="/chatops/slack", tags=["chatops"], dependencies=[Depends(visitor)])


@router.post("/interactions", openapi_extra={"security": []})
async def interactions(request: Request, gateway: Served) -> Response:
    """Answered within three seconds, with an empty 200. The signature is the key."""
    raw = await signed(request)
    for press in presses(raw):
        await gateway.chatops.pressed(press)
    return Response(status_code=200)


async def signed(request: Request) -> bytes:
    """The body, if Slack has signed it. Raises: NotFound without a signing secret, Unauthenticated, TooLarge."""
    settings = served(request).settings
    secret = settings.notifications.slack.signing_secret
    if secret is None:
        raise NotFound("setting", "notifications.slack.signing_secret")
    raw = await read_body(request, settings.server.max_body_bytes)
    stamp, signature = (request.headers.get(f"x-slack-{name}") for name in ("request-timestamp", "signature"))
    verifier = SignatureVerifier(secret.get_secret_value())
    try:
        good = verifier.is_valid(raw, stamp or "", signature or "")
    except (ValueError, TypeError):
        good = False
    if not good:
        raise Unauthenticated("This is not signed by Slack, or not now.")
    return raw


def presses(raw: bytes) -> list[Press]:
    """The buttons that were pressed. Raises: Invalid."""
    try:
        [text] = parse_qs(raw.decode(), strict_parsing=True, max_num_fields=10)["payload"]
        payload: Any = json.loads(text)
    except (ValueError, KeyError, RecursionError) as wrong:
        raise Invalid.field("payload", "must be a form field with JSON") from wrong
    if not isinstance(payload, dict) or payload.get("type") != "block_actions":
        raise Invalid.field("payload.type", "must be block_actions")
    try:
        return [
            Press(
                slack_id=payload["user"]["id"], action=action["action_id"], at=action["action_ts"],
                about=action["value"].partition("|")[0], level=int(action["value"].partition("|")[2] or 0),
                response_url=payload.get("response_url"),
            )
            for action in payload["actions"] if action.get("value")
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise Invalid.field("payload", "must have user.id and actions with action_id, action_ts and value") from wrong
