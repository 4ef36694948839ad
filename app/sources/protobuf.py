"""Alerts and incidents as gRPC clients write them. Source: proto/alerts.proto, proto/incidents.proto."""

from collections.abc import Mapping

from pydantic import Field

from app.domain.alert import Alert
from app.domain.decode import Instant, decode
from app.domain.requests import Name, Title
from app.sources import native
from app.sources.native import AlertBody, Create, IncidentBody, LabelsOrList

MEASURED = ("rule_id", "value", "threshold_operator", "threshold_value")
"""What a rule saw: kept as annotations."""


class AlertMessage(AlertBody):
    title: Title = Field(validation_alias="name")
    external_id: Name | None = Field(None, validation_alias="id")
    starts_at: Instant | None = Field(None, validation_alias="fired_at")


class IncidentRequest(IncidentBody):
    labels: LabelsOrList = Field({}, validation_alias="metadata")


def alert(said: Mapping[str, object], metadata: Mapping[str, str]) -> Alert:
    """The alert of a CreateAlertRequest or an AlertMessage, given by the names of its fields. Raises: Invalid."""
    plain = {name: value for name, value in said.items() if name not in MEASURED}
    body = decode(AlertMessage, plain)
    measured = {name: str(said[name]) for name in MEASURED if name in said}
    kept = body.model_copy(update={"annotations": measured | body.annotations})
    return native.as_alert(kept, native.delivery_of(metadata))


def incident(said: Mapping[str, object], metadata: Mapping[str, str]) -> Create:
    """What a CreateIncidentRequest wants, given by the names of its fields. Raises: Invalid."""
    body = decode(IncidentRequest, said)
    return Create(alert=native.as_alert(body, native.delivery_of(metadata)), assign_to=body.assigned_to)
