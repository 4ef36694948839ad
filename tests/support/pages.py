"""A page to send, and how long the channels under test may take."""

from app.domain.notification import Message

DEADLINE = 0.5
"""Seconds."""
PAGE = Message(
    key="in-1/0/0/user:alice/webhook", notification_id="no-1", incident_id="in-1", level=1, target="user:alice",
    title="checkout model is slow", body="p95 is 9 s", severity="P1", link="http://localhost/in-1",
    incident={"id": "in-1", "source": "prometheus"},
)  # fmt: skip
