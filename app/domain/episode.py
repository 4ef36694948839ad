"""From when something that is watched went wrong until it is well again, and what is still to be told of that."""

from datetime import datetime

from app.domain.alert import Alert
from app.domain.record import Record
from app.domain.vocabulary import Severity


class Episode(Record):
    """`subject` is a series' id, or `heartbeat:` and a heartbeat's.

    `news` is the alert that isn't known yet to have been accepted; it is sent again until it is. `threshold` is what
    was passed when it began. An episode that is over is gone once that was told.
    """

    subject: str
    since: datetime
    severity: Severity
    threshold: float = 0.0
    over: bool = False
    news: Alert | None = None
