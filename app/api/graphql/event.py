"""An alert as an event, the published clients' word for it."""

from datetime import datetime
from typing import cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql.context import Info
from app.api.graphql.incident import Incident, Resource
from app.domain.representation import EventView


@strawberry.type
class Event:
    """What a source said. `acknowledged`: somebody has taken its incident."""

    id: strawberry.ID
    event_id: strawberry.ID
    incident_id: strawberry.ID
    source: str
    source_version: str | None
    timestamp: datetime
    received_at: datetime
    event_type: str
    category: str
    title: str
    description: str
    severity: str
    resource: Resource | None
    metrics: JSON
    tags: JSON
    labels: list[str]
    correlation_id: str | None
    parent_event_id: str | None
    payload: JSON
    acknowledged: bool
    deduplicated: bool

    @strawberry.field
    async def incident(self, root: strawberry.Parent[EventView], info: Info) -> Incident | None:
        return cast("Incident | None", await info.context.loaders.incidents.load(root.incident_id))
