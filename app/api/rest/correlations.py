"""Groups of incidents that belong together: read, and changed by hand."""

from fastapi import APIRouter, Request, status

from app.api.auth import Caller
from app.api.rest.query import asking, query
from app.api.rest.wire import NOT_FOUND, Served, accepts, read
from app.domain.grouping import CorrelationStats, GroupPage, GroupQuery
from app.service.correlations import (
    Correlation,
    Divided,
    Gather,
    GroupDetail,
    Lead,
    Merge,
    Over,
    Resolve,
    Split,
)

router = APIRouter(tags=["correlations"])


@router.get("/incidents/{incident_id}/correlation")
@router.get("/incidents/{incident_id}/correlations", include_in_schema=False)
async def correlation(incident_id: str, who: Caller, gateway: Served) -> Correlation:
    """The group the incident is in, and whom it was found to belong with, how strongly and why."""
    return await gateway.correlations.of(who, incident_id)


@router.get("/correlations/groups", openapi_extra=asking(GroupQuery))
async def groups(request: Request, who: Caller, gateway: Served) -> GroupPage:
    """Groups, the newest first."""
    return await gateway.correlations.list(who, query(request, GroupQuery))


@router.get("/correlations/stats")
async def stats(who: Caller, gateway: Served) -> CorrelationStats:
    """How many groups there are, and how many incidents in them."""
    return await gateway.correlations.stats(who)


@router.post("/correlations/manual", status_code=status.HTTP_201_CREATED, openapi_extra=accepts(Gather) | NOT_FOUND)
async def gather(request: Request, who: Caller, gateway: Served) -> GroupDetail:
    """Groups incidents by hand, or adds them to the group that one of them is in. 409 when they are in several."""
    return await gateway.correlations.gather(who, await read(request, Gather))


@router.get("/correlations/groups/{group_id}")
async def group(group_id: str, who: Caller, gateway: Served) -> GroupDetail:
    """A group with its members, its lead, and the graph of who belongs with whom."""
    return await gateway.correlations.get(who, group_id)


@router.post("/correlations/groups/{group_id}/merge", openapi_extra=accepts(Merge))
async def merge(request: Request, group_id: str, who: Caller, gateway: Served) -> GroupDetail:
    """Other groups go up in this one, which keeps its lead."""
    return await gateway.correlations.merge(who, group_id, await read(request, Merge))


@router.post("/correlations/groups/{group_id}/split", openapi_extra=accepts(Split))
async def split(request: Request, group_id: str, who: Caller, gateway: Served) -> Divided:
    """Takes members out, each by itself or into a new group. They don't come back by themselves."""
    return await gateway.correlations.split(who, group_id, await read(request, Split))


@router.post("/correlations/groups/{group_id}/resolve", openapi_extra=accepts(Resolve, required=False))
async def resolve(request: Request, group_id: str, who: Caller, gateway: Served) -> Over:
    """The group is over: its open members page for themselves, unless they are resolved with it."""
    return await gateway.correlations.resolve(who, group_id, await read(request, Resolve))


@router.put("/correlations/groups/{group_id}/lead", openapi_extra=accepts(Lead))
async def lead(request: Request, group_id: str, who: Caller, gateway: Served) -> GroupDetail:
    """Another member leads: that which is worked on for all of them."""
    return await gateway.correlations.lead(who, group_id, await read(request, Lead))


@router.delete("/correlations/groups/{group_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(group_id: str, who: Caller, gateway: Served) -> None:
    """The group is gone; its incidents stay, and page for themselves."""
    await gateway.correlations.delete(who, group_id)
