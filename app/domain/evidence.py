"""What a tool sent, as it sent it."""

from datetime import datetime
from typing import Literal

from app.domain.record import Record


class EvidenceItem(Record):
    """`sha256` and `size` (bytes) are of the body; `incident_ids` are those it led to."""

    id: str
    tool: str
    at: datetime
    sha256: str
    size: int
    alert_ids: list[str]
    incident_ids: list[str]


class EvidenceView(EvidenceItem):
    """The body as text, or as base64 where it is none; headers without what proves who sent it."""

    headers: dict[str, str]
    query: dict[str, str]
    encoding: Literal["text", "base64"]
    body: str


class EvidenceList(Record):
    evidence: list[EvidenceItem]
