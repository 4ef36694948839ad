"""Names that clients, workers and operators share: queues, workflow ids, search attributes."""

from temporalio.common import SearchAttributeKey

INCIDENTS = "incidents"
ENRICH = "enrich"
"""Look-ups in other people's systems, which may be slow."""
NOTIFY = "notify"
NOTIFY_URGENT = "notify-urgent"
"""P0 and P1 have slots that nothing less urgent can hold."""

PLAYBOOKS = "playbooks"
"""Steps of playbooks: nothing they do can take a slot from a page."""

UPKEEP = "upkeep"
RETRAIN = "retrain"
RETRAIN_DAILY = "retrain-daily"

WATCHING = "watching"
"""What is looked at every minute or so: never behind a training, which may hold its queue for half an hour."""
POLL_STATUS_PAGES = "poll-status-pages"
WATCH = "watch"

SEVERITY = SearchAttributeKey.for_keyword("IncidentSeverity")
STATUS = SearchAttributeKey.for_keyword("IncidentStatus")
SERVICE = SearchAttributeKey.for_keyword("IncidentService")
TEAM = SearchAttributeKey.for_keyword("IncidentTeam")
SOURCE = SearchAttributeKey.for_keyword("IncidentSource")


def workflow_id(incident_id: str) -> str:
    return f"incident-{incident_id}"


def run_workflow_id(run_id: str) -> str:
    return f"playbook-{run_id}"
