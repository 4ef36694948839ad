"""Playbook actions: one file each, and one line here."""

from app.actions.add_note import AddNote
from app.actions.assign import Assign
from app.actions.base import Configured
from app.actions.create_war_room import CreateWarRoom
from app.actions.email import EmailMessage
from app.actions.github_issue import GithubIssue
from app.actions.health_check import HealthCheck
from app.actions.http_request import HttpRequest
from app.actions.incident_resolve import IncidentResolve
from app.actions.jira_issue import JiraIssue
from app.actions.logs_capture import LogsCapture
from app.actions.metrics_snapshot import MetricsSnapshot
from app.actions.pagerduty import PagerDutyEvent
from app.actions.run_script import RunScript
from app.actions.schedule_postmortem import SchedulePostmortem
from app.actions.severity import ChangeSeverity
from app.actions.slack import SlackMessage
from app.actions.verify_resolution import VerifyResolution
from app.actions.webhook import WebhookMessage

ACTIONS: dict[str, Configured] = {
    "add_note": AddNote.configured,
    "assign": Assign.configured,
    "create_war_room": CreateWarRoom.configured,
    "email": EmailMessage.configured,
    "github_issue": GithubIssue.configured,
    "health_check": HealthCheck.configured,
    "http_request": HttpRequest.configured,
    "incident_resolve": IncidentResolve.configured,
    "jira_issue": JiraIssue.configured,
    "logs_capture": LogsCapture.configured,
    "metrics_snapshot": MetricsSnapshot.configured,
    "pagerduty": PagerDutyEvent.configured,
    "run_script": RunScript.configured,
    "schedule_postmortem": SchedulePostmortem.configured,
    "severity_decrease": ChangeSeverity.lowers,
    "severity_increase": ChangeSeverity.raises,
    "slack": SlackMessage.configured,
    "verify_resolution": VerifyResolution.configured,
    "webhook": WebhookMessage.configured,
}
"""Name → its action as the settings have it; None where what it needs is not set up, and then it is not listed."""
