"""Playbook actions: one file each, and one line here."""

from app.actions.base import Configured
from app.actions.http_request import HttpRequest

ACTIONS: dict[str, Configured] = {
    "http_request": HttpRequest.configured,
}
"""Name → its action as the settings have it; None where what it needs is not set up, and then it is not listed."""
