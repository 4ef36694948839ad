"""Is everything ready for the night?"""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.query import asking, query
from app.api.rest.wire import Served
from app.domain.record import Record
from app.service.lint import Linted

router = APIRouter(tags=["on-call"])


class Reaching(Record):
    """`reach` also tries to connect to every webhook; nothing is sent there."""

    reach: bool = False


@router.get("/oncall/lint", openapi_extra=asking(Reaching))
async def lint(request: Request, who: Caller, gateway: Served) -> Linted:
    """Empty schedules, people without an address, levels that reach nobody, in the next 14 days; and open breakers."""
    return await gateway.lint.check(who, reach=query(request, Reaching).reach)
