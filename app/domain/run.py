"""One run of a playbook as a value: where it stands, and what comes next. The workflow holds this and no texts."""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import Conflict, Forbidden
from app.domain.playbook import END, Approval, OnTimeout, Playbook, Retry, Step, StepType
from app.domain.record import Record

VISITS_MAX = 200
"""Steps of one run in all: a circle of branches comes to an end."""
DAY_SECS = 86_400.0


class Done(Record):
    """What came of an action. `output` is for later steps and for its undo, small, and without secrets; `summary` is
    one line."""

    summary: str
    output: dict[str, object] = {}


class RunStatus(StrEnum):
    """RUNNING until it is over; WAITING while somebody has to decide."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    UNDONE = "undone"


MAY_HAVE_ACTED = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED})


class Planned(Record):
    """What the workflow has to know of a step. `destructive`: two people have to want it."""

    id: str
    type: StepType
    timeout_secs: float
    retry: Retry
    on_success: str | None
    on_failure: str
    seconds: float | None = None
    approval: Approval | None = None
    destructive: bool = False
    undoes: bool = False
    side_by_side: "tuple[Planned, ...]" = ()


class Plan(Record):
    """A playbook's mechanics, pinned when its run began."""

    steps: tuple[Planned, ...]
    approval: Approval | None = None
    timeout_secs: float
    rollback_on_failure: bool
    four_eyes: bool
    dry_run: bool

    def after(self, step: Planned, *, succeeded: bool) -> str | None:
        """The id of the step that follows; None at the end. Raises: Aborted, ForATime."""
        wanted = step.on_success if succeeded else step.on_failure
        if wanted == "abort":
            raise Aborted
        if wanted == "undo":
            raise ForATime
        if wanted == END:
            return None
        if wanted not in (None, "continue"):
            return wanted
        ids = [each.id for each in self.steps]
        place = ids.index(step.id) + 1
        return ids[place] if place < len(ids) else None

    def step(self, id_: str) -> Planned:
        return next(step for step in self.steps if step.id == id_)


class Aborted(Exception):
    """A step has failed, and the playbook ends there."""


class ForATime(Exception):
    """The playbook ends well: what it did was for a time only, and is taken back."""


class Deciding(Record):
    """A decision that is waited for. `asked` are the people who may make it; `escalated`: others were asked, too."""

    step_id: str
    quorum: int
    asked: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    rejected_by: str | None = None
    due_at: datetime
    on_timeout: OnTimeout
    escalated: bool = False
    reminded: int = 0

    @property
    def granted(self) -> bool:
        return len(self.approved) >= self.quorum


class StepState(Record):
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None


class Run(Record):
    """`started_by`: a person's name where somebody began it by hand, else what began it.

    `wanted_by`: the people who have agreed to what it does, the one who began it among them.
    """

    id: str
    seq: int = 0
    status: RunStatus = RunStatus.PENDING
    started_by: str
    by_hand: bool
    started_at: datetime
    ended_at: datetime | None = None
    error: str | None = None
    steps: dict[str, StepState] = {}
    order: tuple[str, ...] = ()
    deciding: Deciding | None = None
    wanted_by: tuple[str, ...] = ()

    def with_(self, **changes: object) -> "Run":
        return self.model_copy(update={"seq": self.seq + 1, **changes})

    def step(self, id_: str, **changes: object) -> "Run":
        """The run with a step changed."""
        before = self.steps.get(id_, StepState())
        return self.with_(steps={**self.steps, id_: before.model_copy(update=changes)})

    def begins(self, id_: str, now: datetime) -> "Run":
        before = self.steps.get(id_, StepState())
        changed = self.step(
            id_, status=StepStatus.RUNNING, attempts=before.attempts + 1, started_at=before.started_at or now,
            completed_at=None, error=None,
        )  # fmt: skip
        return changed.model_copy(update={"order": (*self.order, id_) if id_ not in self.order else self.order})

    def ended(self, id_: str, status: StepStatus, now: datetime, error: str | None = None) -> "Run":
        return self.step(id_, status=status, completed_at=now, error=error)

    def to_undo(self, plan: Plan) -> tuple[str, ...]:
        """The steps that may have done what can be taken back, the last one first.

        What failed, or was cancelled, may have been done before that, and not have shown in time.
        """
        every = {each.id: each for step in plan.steps for each in (step, *step.side_by_side)}
        done = (id_ for id_ in reversed(self.order) if self.steps[id_].status in MAY_HAVE_ACTED)
        return tuple(id_ for id_ in done if id_ in every and every[id_].undoes)


def asks(run: Run, step_id: str, approval: Approval, asked: tuple[str, ...], now: datetime, *, more: int = 0) -> Run:
    """A decision is waited for: `more` people than its quorum have to agree."""
    deciding = Deciding(
        step_id=step_id, quorum=approval.quorum + more, asked=asked, on_timeout=approval.on_timeout,
        due_at=now + timedelta(seconds=approval.timeout_secs),
    )  # fmt: skip
    return run.with_(status=RunStatus.WAITING, deciding=deciding)


def decided(run: Run, by: str, approve: bool, *, may_anyway: bool, four_eyes: bool, about: str | None = None) -> Run:
    """What somebody's word makes of it, `about` one step where it says so. Saying the same again changes nothing.

    Raises: Conflict when nothing waits for a decision; Forbidden for who wasn't asked, or began it.
    """
    deciding = run.deciding
    if deciding is None or run.status.over or about not in (None, deciding.step_id):
        raise Conflict(
            f"Run {run.id} waits for nobody's decision{f' about {about}' if about else ''}.", {"status": run.status}
        )
    if by in deciding.approved and approve:
        return run
    if by not in deciding.asked and not may_anyway:
        asked = ", ".join(deciding.asked) or "nobody who can be reached"
        raise Forbidden(f"{by} was not asked; these were: {asked}.")
    if four_eyes and approve and run.by_hand and by == run.started_by:
        raise Forbidden(f"{by} began this run: somebody else has to agree.")
    if not approve:
        return run.with_(deciding=deciding.model_copy(update={"rejected_by": by}))
    approved = deciding.model_copy(update={"approved": (*deciding.approved, by)})
    return run.with_(deciding=approved, wanted_by=tuple(dict.fromkeys((*run.wanted_by, by))))


def reminder_after(approval: Approval, reminded: int) -> timedelta:
    """How long after the last word people are reminded: twice as long each time, up to a day. Weeks of quarters of an

    hour would be thousands of mails, and more than the 51,200 events that Temporal lets a history have.
    """
    longest = max(approval.reminder_secs, DAY_SECS)
    return timedelta(seconds=min(approval.reminder_secs * 2.0 ** min(reminded, 32), longest))


def people_missing(run: Run, plan: Plan) -> int:
    """How many people still have to want it before something destructive is done."""
    if not plan.four_eyes or plan.dry_run:
        return 0
    return max(0, 2 - len(run.wanted_by))


def planned(playbook: Playbook, destructive: frozenset[str], undoes: frozenset[str], *, dry_run: bool) -> Plan:
    """The mechanics of a playbook. `destructive` and `undoes` are names of actions."""

    def of(step: Step) -> Planned:
        action = step.call.action if step.call else None
        return Planned(
            id=step.id, type=step.type, timeout_secs=step.timeout_secs, retry=step.retry,
            on_success=step.on_success, on_failure=step.on_failure, seconds=step.seconds, approval=step.approval,
            destructive=action in destructive, undoes=step.undo is not None or action in undoes,
            side_by_side=tuple(of(each) for each in step.steps),
        )  # fmt: skip

    execution = playbook.execution
    return Plan(
        steps=tuple(of(step) for step in playbook.steps), approval=execution.approval,
        timeout_secs=execution.timeout_secs, rollback_on_failure=execution.rollback_on_failure,
        four_eyes=execution.four_eyes, dry_run=dry_run,
    )  # fmt: skip
