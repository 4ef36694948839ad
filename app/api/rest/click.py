"""Pages behind the links in mails: one shows the incident, and its button takes it. Looking changes nothing."""

from html import escape

from fastapi import APIRouter, Depends, Response

from app.api.auth import visitor
from app.api.rest.wire import Served
from app.domain.access import Principal
from app.domain.errors import Conflict, Forbidden, InvalidTransition, NotFound, Refused, Unavailable
from app.domain.representation import IncidentView
from app.domain.vocabulary import Status

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "x-content-type-options": "nosniff",
}
CODES: dict[type[Refused], int] = {
    Forbidden: 403, NotFound: 404, InvalidTransition: 409, Conflict: 409, Unavailable: 503,
}  # fmt: skip
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 1.1em/1.5 system-ui, sans-serif; max-width: 34em; margin: 3em auto; padding: 0 1em }}
button {{ font: inherit; padding: .6em 1.4em; border: 0; border-radius: .4em; background: #0a6b3d; color: #fff }}
</style></head><body><h1>{title}</h1>{body}</body></html>
"""
BUTTON = """<form method="post"><button>Acknowledge as {who}</button></form>"""

router = APIRouter(prefix="/click", include_in_schema=False, dependencies=[Depends(visitor)])


@router.get("/{token}")
@router.head("/{token}")
async def look(token: str, gateway: Served) -> Response:
    """What the incident is, and a button."""
    try:
        who, incident = await gateway.clicks.look(token)
    except Refused as refusal:
        return refused(refusal)
    button = BUTTON.format(who=escape(who.name)) if incident.status.waits_for_somebody else ""
    return page(200, _title(incident), _standing(incident) + button)


@router.post("/{token}")
async def act(token: str, gateway: Served) -> Response:
    """Takes the incident, for whom the link was made."""
    try:
        who, incident = await gateway.clicks.act(token)
    except Refused as refusal:
        return refused(refusal)
    return page(200, _title(incident), f"<p>{_taken(who, incident)}</p>{_standing(incident)}")


def refused(refusal: Refused) -> Response:
    code = next((code for kind, code in CODES.items() if isinstance(refusal, kind)), 400)
    again = "<p>Nothing is lost: try again in a moment.</p>" if code == 503 else ""
    answer = page(code, "That did not work", f"<p>{escape(refusal.message)}</p>{again}")
    if isinstance(refusal, Unavailable):
        answer.headers["retry-after"] = str(refusal.retry_after)
    return answer


def page(code: int, title: str, body: str) -> Response:
    text = PAGE.format(title=escape(title), body=body)
    return Response(text.encode("utf-8", "replace"), code, HEADERS, media_type="text/html; charset=utf-8")


def _title(incident: IncidentView) -> str:
    return f"{incident.severity}: {incident.title}"


def _standing(incident: IncidentView) -> str:
    by = f" by {incident.acknowledged_by}" if incident.acknowledged_by else ""
    return f"<p>It is {escape(f'{incident.status}{by}')}. Source: {escape(incident.source)}.</p>"


def _taken(who: Principal, incident: IncidentView) -> str:
    if incident.status is Status.ACKNOWLEDGED and incident.acknowledged_by == who.name:
        return "It is yours: nobody else is paged."
    return "It was taken already."
