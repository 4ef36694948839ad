"""A playbook's run: step after step, waits as timers, decisions as updates, what was done undone in reverse."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.playbooks import Act, Acted, AskPeople, Begin, Note, Playbooks, ShowRun
from app.domain import run as runs
from app.domain.errors import Refused
from app.domain.playbook import Approval, OnTimeout, StepType
from app.domain.record import Record
from app.domain.run import Aborted, ForATime, Plan, Planned, Run, RunStatus, StepStatus
from workflows import names, options
from workflows.local import local

START = "start"
"""What the decision about a whole run is called among its steps."""


class Decision(Record):
    """Somebody's word. `anyway`: an administrator, who may decide without having been asked. `about`: the step it is

    about; None = whatever is waited for.
    """

    by: str
    approve: bool
    anyway: bool = False
    about: str | None = None


class Cancel(Record):
    by: str
    undo: bool = False


class Stopped(Exception):
    """The run has failed; the message says why."""


@workflow.defn(name="playbook")
class PlaybookWorkflow:
    @workflow.init
    def __init__(self, begin: Begin) -> None:
        self.begin = begin
        self.current: Run | None = None
        self.plan: Plan | None = None
        self.shown_seq = -1
        self.cancelled: Cancel | None = None
        self.ending = False
        self.visits = 0
        self.reminders = 0
        self.one_question = asyncio.Lock()

    @workflow.run
    async def run(self, begin: Begin) -> str:
        loaded = await local(Playbooks.load, begin)
        self.current, self.plan = loaded.run.with_(status=RunStatus.RUNNING), loaded.plan
        await self.show()
        noting = asyncio.create_task(self.note(ended=False))
        going = asyncio.create_task(self.go())
        try:
            await workflow.wait_condition(
                lambda: going.done() or self.cancelled is not None, timeout=timedelta(seconds=self.planned.timeout_secs)
            )
            late = None
        except TimeoutError:
            late = f"it did not end within {self.planned.timeout_secs:g} s"
        except asyncio.CancelledError:  # in Temporal's UI
            late = None
        self.ending = True
        going.cancel()
        await self.end(going, late)
        await noting
        await self.note(ended=True)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.running.status

    @property
    def running(self) -> Run:
        if self.current is None:
            raise RuntimeError("the run is not loaded yet")
        return self.current

    @property
    def planned(self) -> Plan:
        if self.plan is None:
            raise RuntimeError("the run is not loaded yet")
        return self.plan

    async def go(self) -> None:
        """All steps, from the first. Raises: Stopped, Aborted, ForATime."""
        plan = self.planned
        if plan.approval is not None and not plan.dry_run:
            await self.agreed(START, plan.approval, None)
        step_id: str | None = self.begin.from_step or plan.steps[0].id
        while step_id is not None:
            self.visits += 1
            if self.visits > runs.VISITS_MAX:
                raise Stopped(f"more than {runs.VISITS_MAX} steps: its branches go in a circle")
            step = plan.step(step_id)
            step_id = plan.after(step, succeeded=await self.do(step))

    async def do(self, step: Planned) -> bool:
        """One step; whether it succeeded. Of a decision: whether it was a yes."""
        if step.type is StepType.APPROVAL and step.approval is not None:
            return self.planned.dry_run or await self.agreed(step.id, step.approval, step.id)
        if step.type is StepType.WAIT:
            await self.wait(step)
            return True
        if step.type is StepType.PARALLEL:
            self.take(self.running.begins(step.id, workflow.now()))
            several = await asyncio.gather(*(self.act(each) for each in step.side_by_side))
            return await self.ended(step.id, all(several), None if all(several) else "not all of them succeeded")
        return await self.act(step)

    async def wait(self, step: Planned) -> None:
        self.take(self.running.begins(step.id, workflow.now()))
        await self.show()
        if not self.planned.dry_run:
            await workflow.sleep(timedelta(seconds=step.seconds or 0), summary=f"step {step.id}")
        await self.ended(step.id, succeeded=True)

    async def act(self, step: Planned) -> bool:
        """An action, tried as often as its step allows."""
        if step.destructive and not await self.wanted(step):
            return await self.ended(step.id, succeeded=False, error="nobody else wanted it")
        for attempt in range(1, step.retry.max_attempts + 1):
            self.take(self.running.begins(step.id, workflow.now()))
            await self.show()
            acted = await self.acted(Act(
                run_id=self.begin.run_id, step_id=step.id, attempt=attempt, timeout_secs=step.timeout_secs,
                dry_run=self.planned.dry_run,
            ))  # fmt: skip
            if acted.outcome == "skipped":
                self.take(self.running.ended(step.id, StepStatus.SKIPPED, workflow.now()))
                await self.show()
                return True
            if acted.outcome != "failed":
                await self.ended(step.id, succeeded=True)
                return acted.outcome == "done"
            if attempt == step.retry.max_attempts or not acted.passing:
                break
            pause = max(step.retry.pause(attempt), acted.retry_after_secs or 0)
            await workflow.sleep(timedelta(seconds=pause), summary=f"step {step.id}, before try {attempt + 1}")
        return await self.ended(step.id, succeeded=False, error=acted.error)

    async def wanted(self, step: Planned) -> bool:
        """Whether enough people want what is destructive. Of steps side by side one asks after the other."""
        async with self.one_question:
            missing = runs.people_missing(self.running, self.planned)
            return not missing or await self.agreed(f"{step.id}-agreement", self.planned.approval, None, people=missing)

    async def acted(self, ask: Act) -> Acted:
        """What came of it. A worker that dies is followed by another; what else goes wrong is a failure."""
        try:
            acted = await workflow.execute_activity_method(
                Playbooks.act, ask, task_queue=names.PLAYBOOKS, summary=f"{'undo ' if ask.undo else ''}{ask.step_id}",
                start_to_close_timeout=timedelta(seconds=ask.timeout_secs) + options.ACT_SLACK,
                heartbeat_timeout=options.ACT_HEARTBEAT, retry_policy=options.ACT_RETRY,
            )  # fmt: skip
        except ActivityError as failed:
            if is_cancelled_exception(failed):
                raise asyncio.CancelledError from failed
            return Acted(outcome="failed", error=str(failed.cause or failed)[:500])
        if not ask.undo:
            self.go_on()
        return acted

    def go_on(self) -> None:
        """A cancel that comes in the moment in which an activity ends is swallowed by it. Raises: CancelledError."""
        if self.ending:
            raise asyncio.CancelledError

    async def agreed(self, step_id: str, approval: Approval | None, asking: str | None, people: int = 0) -> bool:
        """Waits for people's word, for as long as it takes. Raises: Stopped, where it is about the whole run."""
        wanted = approval or Approval.model_construct(
            approvers=(), quorum=max(people, 1), timeout_secs=options.AGREEMENT_SECS, on_timeout=OnTimeout.REJECT,
            escalate_to=(), reminder_secs=options.REMINDER_SECS, message="",
        )  # fmt: skip
        if people:
            wanted = wanted.model_copy(update={"quorum": people})
        self.take(self.running.begins(step_id, workflow.now()))
        asked = await self.ask(AskPeople(run_id=self.begin.run_id, step_id=asking, about=step_id))
        self.take(runs.asks(self.running, step_id, wanted, asked, workflow.now()))
        await self.show()
        granted, why = await self.word(wanted, asking)
        self.take(self.running.with_(deciding=None, status=RunStatus.RUNNING))
        await self.ended(step_id, granted, why)
        if not granted and step_id == START:
            raise Stopped(why or "it was not approved")
        return granted

    async def word(self, approval: Approval, asking: str | None) -> tuple[bool, str | None]:
        """Whether they agreed, and why not; they are reminded, and others are asked when their time is over."""
        while True:
            deciding = self.running.deciding
            if deciding is None:
                return False, "it was cancelled"
            patience = min(deciding.due_at - workflow.now(), runs.reminder_after(approval, deciding.reminded))
            try:
                await workflow.wait_condition(self.word_is_given, timeout=max(patience, timedelta(0)))
            except TimeoutError:
                over = deciding.due_at <= workflow.now()
                if over and deciding.on_timeout is OnTimeout.PROCEED:
                    return True, None
                if over and (deciding.on_timeout is OnTimeout.REJECT or deciding.escalated):
                    return False, "nobody decided in time"
                await self.insist(approval, asking, escalated=deciding.escalated or over, over=over)
                continue
            said = self.running.deciding
            if said is not None and said.rejected_by is None:
                return True, None
            return False, f"{said.rejected_by} rejected it" if said is not None else "it was cancelled"

    def word_is_given(self) -> bool:
        deciding = self.running.deciding
        return deciding is None or deciding.granted or deciding.rejected_by is not None

    async def insist(self, approval: Approval, asking: str | None, *, escalated: bool, over: bool) -> None:
        """Reminds them. Whoever has come on duty meanwhile is asked, too."""
        deciding = self.running.deciding
        self.reminders += 1
        ask = AskPeople(
            run_id=self.begin.run_id, step_id=asking, escalated=escalated, reminder=0 if over else self.reminders,
            about=deciding.step_id if deciding is not None else None,
        )  # fmt: skip
        people = await self.ask(ask)
        deciding = self.running.deciding
        if deciding is None:
            return
        asked = tuple(dict.fromkeys((*deciding.asked, *people)))
        due_at = workflow.now() + timedelta(seconds=approval.timeout_secs) if over else deciding.due_at
        reminded = 0 if over else deciding.reminded + 1
        changed = deciding.model_copy(
            update={"asked": asked, "escalated": escalated, "due_at": due_at, "reminded": reminded}
        )
        self.take(self.running.with_(deciding=changed))
        await self.show()

    async def ask(self, ask: AskPeople) -> tuple[str, ...]:
        try:
            asked = await workflow.execute_activity_method(
                Playbooks.ask, ask, task_queue=names.PLAYBOOKS, start_to_close_timeout=options.ASK_TIMEOUT,
                retry_policy=options.ASK_RETRY,
            )  # fmt: skip
        except ActivityError as failed:
            if is_cancelled_exception(failed):
                raise asyncio.CancelledError from failed
            return ()
        return asked.people

    async def end(self, going: "asyncio.Task[None]", late: str | None) -> None:
        """What came of it all; what was done is taken back where that is wanted."""
        status, error = RunStatus.COMPLETED, late
        back = self.planned.rollback_on_failure
        try:
            await going
            back = False
        except ForATime:
            back = True
        except Aborted:
            failed = [step for id_, step in self.running.steps.items() if step.status is StepStatus.FAILED]
            status, error = RunStatus.FAILED, failed[-1].error if failed else "a step failed"
        except Stopped as why:
            status, error = RunStatus.FAILED, str(why)
        except asyncio.CancelledError:
            status = RunStatus.FAILED if late else RunStatus.CANCELLED
            error = late or f"cancelled by {self.cancelled.by if self.cancelled else 'Temporal'}"
        for id_, step in self.running.steps.items():
            if step.status in (StepStatus.RUNNING, StepStatus.WAITING):
                self.take(self.running.ended(id_, StepStatus.CANCELLED, workflow.now()))
        self.take(self.running.with_(deciding=None))
        if self.cancelled and status is RunStatus.CANCELLED:
            back = self.cancelled.undo
        if back and not self.planned.dry_run and (stays := await self.take_back()):
            status, error = (RunStatus.FAILED, stays) if status is RunStatus.COMPLETED else (status, error)
        self.take(self.running.with_(status=status, error=error, ended_at=workflow.now()))
        await self.show()

    async def take_back(self) -> str | None:
        """Undoes what was done, the last step first; why something stays. That does not keep the others from it."""
        stays: str | None = None
        every = {each.id: each for step in self.planned.steps for each in (step, *step.side_by_side)}
        for id_ in self.running.to_undo(self.planned):
            timeout = every[id_].timeout_secs
            acted = await self.acted(Act(run_id=self.begin.run_id, step_id=id_, timeout_secs=timeout, undo=True))
            if acted.outcome == "failed":
                stays = f"undo: {acted.error}"
                self.take(self.running.step(id_, error=stays))
            elif acted.outcome == "done":
                self.take(self.running.step(id_, status=StepStatus.UNDONE))
            await self.show()
        return stays

    async def note(self, *, ended: bool) -> None:
        """A line on the incident's timeline. The run goes on without it."""
        if self.planned.dry_run:
            return
        try:
            await workflow.execute_activity_method(
                Playbooks.note, Note(run_id=self.begin.run_id, ended=ended), task_queue=names.PLAYBOOKS,
                schedule_to_close_timeout=options.NOTE_GIVE_UP, retry_policy=options.ASK_RETRY,
            )  # fmt: skip
        except ActivityError as failed:
            workflow.logger.warning("the incident does not hear of the run: %s", failed.cause)

    async def ended(self, step_id: str, succeeded: bool, error: str | None = None) -> bool:
        status = StepStatus.COMPLETED if succeeded else StepStatus.FAILED
        self.take(self.running.ended(step_id, status, workflow.now(), error))
        await self.show()
        return succeeded

    def take(self, run: Run) -> None:
        self.current = run

    async def show(self) -> None:
        """Writes the state to PostgreSQL, and where it stands to Temporal's UI."""
        run = self.running
        workflow.set_current_details(f"**{run.status}**: {run.order[-1] if run.order else 'begins'}")
        await local(Playbooks.show, ShowRun(run=run, time_ns=workflow.time_ns()))
        self.shown_seq = max(self.shown_seq, run.seq)

    @workflow.update
    async def decide(self, decision: Decision) -> str:
        """Takes somebody's word; the run's status when PostgreSQL shows it."""
        self.take(self.judged(decision))
        seq = self.running.seq
        await self.show()
        await workflow.wait_condition(lambda: self.shown_seq >= seq)
        return self.running.status

    @decide.validator
    def may_decide(self, decision: Decision) -> None:
        self.judged(decision)

    def judged(self, decision: Decision) -> Run:
        if self.current is None:
            raise ApplicationError("The run is only just beginning: ask again.", type="SERVICE_UNAVAILABLE")
        return refused(lambda: runs.decided(
            self.running, decision.by, decision.approve, may_anyway=decision.anyway, four_eyes=self.planned.four_eyes,
            about=decision.about,
        ))  # fmt: skip

    @workflow.update
    async def cancel(self, cancel: Cancel) -> str:
        """Ends the run; its status then."""
        self.cancelled = self.cancelled or cancel
        await workflow.wait_condition(lambda: self.current is not None and self.current.status.over)
        return self.running.status

    @workflow.query
    def standing(self) -> Run | None:
        return self.current


def refused(change: Callable[[], Run]) -> Run:
    """A refusal as the caller of an update sees it."""
    try:
        return change()
    except Refused as refusal:
        raise ApplicationError(refusal.message, refusal.details, type=refusal.code, non_retryable=True) from refusal
