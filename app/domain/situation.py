"""Where a step of a playbook runs, and how it says that it could not be done."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.representation import IncidentView


class Failed(Exception):
    """It could not be done. `retry_after` None: it never can, as asked for; else trying again then may help.

    `doubtful`: it may have been done all the same (no answer came).
    """

    def __init__(self, message: str, retry_after: timedelta | None = None, *, doubtful: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.doubtful = doubtful


@dataclass(frozen=True)
class Situation:
    """Where a step runs. `key` is the same over all tries of the step and different for every other step and run.

    `actor` is who acts in the incident's name on its timeline: `playbook:<id>`. `now` is aware.
    """

    key: str
    run_id: str
    step_id: str
    actor: str
    incident: IncidentView
    now: datetime
