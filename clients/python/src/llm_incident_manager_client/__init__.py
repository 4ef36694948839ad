"""Client of the LLM Incident Manager: alerts, incidents, commands, and what happens as it happens, without a gap."""

from llm_incident_manager_client.client import IncidentManagerClient
from llm_incident_manager_client.errors import (
    BadAddress,
    BadAnswer,
    Conflict,
    Forbidden,
    IncidentManagerError,
    Invalid,
    NotFound,
    RateLimited,
    Refused,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from llm_incident_manager_client.inputs import Change, EventFilter, Filter, LiveFilter, NewAlert, NewEvent, NewIncident
from llm_incident_manager_client.models import (
    Actor,
    Alert,
    Document,
    Event,
    EventPage,
    Health,
    Incident,
    IncidentEvent,
    Linted,
    LogLine,
    Notification,
    Page,
    Reported,
    Run,
    RunStep,
    Simulated,
    Taken,
    TimelineEvent,
)
from llm_incident_manager_client.sync import SyncIncidentManagerClient

__all__ = [
    "Actor", "Alert", "BadAddress", "BadAnswer", "Change", "Conflict", "Document", "Event", "EventFilter", "EventPage",
    "Filter", "Forbidden", "Health", "Incident", "IncidentEvent", "IncidentManagerClient", "IncidentManagerError",
    "Invalid", "Linted", "LiveFilter", "LogLine", "NewAlert", "NewEvent", "NewIncident", "NotFound", "Notification",
    "Page", "RateLimited", "Refused", "Reported", "Run", "RunStep", "Simulated", "SyncIncidentManagerClient", "Taken",
    "TimelineEvent", "Unauthenticated", "Unavailable", "Unreachable",
]  # fmt: skip
