"""The deeds of a playbook's run. What is done is written down under (run, step), so that a second time finds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.matching import holds
from app.domain.playbook import Approval, Call, StepType
from app.domain.record import Record
from app.domain.run import Done, Plan, Run, RunStatus, planned
from app.domain.situation import Failed, Situation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.actions.base import Action
    from app.domain.playbook import Step
    from app.store.runs import Kept, RunStore

    Render = Callable[[object, Mapping[str, object]], object]
    Asking = Callable[[Kept, str, Approval | None, int], Awaitable[tuple[str, ...]]]

HEARTBEAT_SECS = 1.0
LOOKS_AGAIN_SECS = 1.0
NOTES = "add_note"
"""The action by which a run says something on its incident's timeline."""


class Begin(Record):
    """A run, and the step it begins at where it isn't the first (another run's, tried again from there)."""

    run_id: str
    from_step: str | None = None


class Loaded(Record):
    run: Run
    plan: Plan


class ShowRun(Record):
    """A state, and the moment in the workflow's time that orders it."""

    run: Run
    time_ns: int


class Act(Record):
    """One try of a step; `undo` takes it back."""

    run_id: str
    step_id: str
    attempt: int = 1
    timeout_secs: float = 300
    dry_run: bool = False
    undo: bool = False


class Acted(Record):
    """`failed` says why, and whether and when trying again makes sense. Of a decision, `no` is its no."""

    outcome: Literal["done", "skipped", "failed", "no"]
    error: str | None = None
    passing: bool = True
    retry_after_secs: float | None = None


class Note(Record):
    """A line on the incident's timeline: that the run has begun, or ended."""

    run_id: str
    ended: bool = False


class AskPeople(Record):
    """`step_id` None: for the run as a whole, or before something destructive. `escalated`: those after them.

    `reminder`: how many there were with this one, 0 for none. `about`: what the decision is called among the steps.
    """

    run_id: str
    step_id: str | None
    escalated: bool = False
    reminder: int = 0
    about: str | None = None


class Asked(Record):
    people: tuple[str, ...]


@dataclass(frozen=True)
class Playbooks:
    """`render` fills in templates; `asking` tells people that they have to decide, and who they are; `over` is told of

    every run that has ended.
    """

    runs: RunStore
    actions: Mapping[str, Action]
    render: Render
    asking: Asking
    over: Callable[[Run], None]

    @activity.defn(name="playbooks.load")
    async def load(self, ask: Begin) -> Loaded:
        """The run, and the mechanics of its playbook in the version it began with."""
        kept = await self.runs.get(ask.run_id)
        destructive = frozenset(name for name, action in self.actions.items() if action.destructive)
        undoes = frozenset(name for name, action in self.actions.items() if action.undoes)
        plan = planned(kept.playbook, destructive, undoes, dry_run=kept.dry_run)
        return Loaded(run=kept.state, plan=plan)

    @activity.defn(name="playbooks.show")
    async def show(self, ask: ShowRun) -> None:
        """Twice is once, and late is never: a run's row is ordered by (time_ns, sequence)."""
        if await self.runs.project(ask.run, ask.time_ns) and ask.run.status.over:
            self.over(ask.run)

    @activity.defn(name="playbooks.note")
    async def note(self, ask: Note) -> None:
        """Says on the incident's timeline, once, that the run has begun or ended. Raises: ApplicationError, to be
        tried again; what never will be taken (the incident is long closed) stands in the run's log.
        """
        from app.domain.situation import Failed

        kept, now = await self.runs.get(ask.run_id), datetime.now(UTC)
        call = Call(action=NOTES, parameters={"text": _said(kept, ask.ended)})
        try:
            action, asked, at = self._prepared(kept, "end" if ask.ended else "begin", call, {}, now, call.parameters)
            await action.run(asked, at)
        except Failed as no:
            if no.retry_after is not None:
                raise ApplicationError(no.message, next_retry_delay=no.retry_after) from no
            await self.runs.say(kept.id, "incident", f"not noted on the incident: {no.message}", now)

    @activity.defn(name="playbooks.ask")
    async def ask(self, ask: AskPeople) -> Asked:
        """Tells those who have to decide, as far as they can be reached; who they are."""
        kept = await self.runs.get(ask.run_id)
        step = kept.playbook.step(ask.step_id) if ask.step_id is not None else None
        approval = step.approval if step is not None else kept.playbook.execution.approval
        if approval is not None and ask.escalated:
            approval = approval.model_copy(update={"approvers": approval.escalate_to})
        about = ask.about or ask.step_id or "start"
        return Asked(people=await self.asking(kept, about, approval, ask.reminder))

    @activity.defn(name="playbooks.act")
    async def act(self, ask: Act) -> Acted:
        """Does one step, or takes it back. A failure is an answer: who asked knows what comes then.

        A worker that dies here does it again under the same key: what the action returned is written down at once,
        and found by the second time; what wasn't yet is done once more with the key the first time had.
        """
        async with _heartbeats():
            kept = await self.runs.get(ask.run_id)
            step = kept.playbook.step(ask.step_id)
            try:
                async with asyncio.timeout(ask.timeout_secs):
                    return await (self._undone(kept, step) if ask.undo else self._done(kept, step, ask))
            except Failed as no:
                await self.runs.say(ask.run_id, ask.step_id, f"failed: {no.message}", datetime.now(UTC))
                after = no.retry_after.total_seconds() if no.retry_after is not None else None
                return Acted(
                    outcome="failed", error=no.message[:500], passing=no.retry_after is not None, retry_after_secs=after
                )
            except TimeoutError:
                late = f"no end within {ask.timeout_secs:g} s"
                await self.runs.say(ask.run_id, ask.step_id, late, datetime.now(UTC))
                return Acted(outcome="failed", error=late)

    async def _done(self, kept: Kept, step: Step, ask: Act) -> Acted:
        now = datetime.now(UTC)
        context = await self._context(kept)
        if not holds(step.condition, kept.subject(now)) or (
            step.when is not None and not _true(self.render(step.when, context))
        ):
            await self.runs.say(kept.id, step.id, "passed over: its condition does not hold", now)
            return Acted(outcome="skipped")
        if step.type is StepType.DECISION:
            yes = _true(self.render(step.test, context))
            await self.runs.say(kept.id, step.id, f"decided {'yes' if yes else 'no'}: {step.test}", now)
            return Acted(outcome="done" if yes else "no")
        action, asked, at = self._prepared(kept, step.id, step.call, context, now)
        if ask.dry_run:
            await self.runs.say(kept.id, step.id, f"would: {await action.check(asked, at)}", now)
            return Acted(outcome="done")
        done = await self.runs.done(kept.id, step.id)
        if done is None:
            await self.runs.say(kept.id, step.id, f"try {ask.attempt}: {await action.check(asked, at)}", now)
            done = await action.run(asked, at)
            await self.runs.record(kept.id, step.id, done, asked.model_dump(mode="json"), datetime.now(UTC))
        await self._verified(action, asked, done, at)
        return Acted(outcome="done")

    async def _verified(self, action: Action, asked: Record, done: Done, at: Situation) -> None:
        """Looks until it shows, for as long as the step has time."""
        while True:
            try:
                seen = await action.verify(asked, done, at)
            except Failed as not_yet:
                if not_yet.retry_after is None:
                    raise
                await asyncio.sleep(max(not_yet.retry_after.total_seconds(), LOOKS_AGAIN_SECS))
            else:
                await self.runs.say(at.run_id, at.step_id, seen, datetime.now(UTC))
                return

    async def _undone(self, kept: Kept, step: Step) -> Acted:
        now = datetime.now(UTC)
        done = await self.runs.done(kept.id, step.id)
        if done is None:
            return Acted(outcome="skipped")
        if step.undo is not None:
            context = await self._context(kept)
            action, asked, at = self._prepared(kept, f"{step.id}/undo", step.undo, context, now)
            back = await action.run(asked, at)
        else:
            given = await self.runs.parameters(kept.id, step.id)
            action, asked, at = self._prepared(kept, f"{step.id}/undo", step.call, {}, now, given)
            back = await action.undo(asked, done, at)
        await self.runs.say(kept.id, step.id, f"undone: {back.summary}", datetime.now(UTC))
        return Acted(outcome="done")

    def _prepared(
        self, kept: Kept, key: str, call: Call | None, context: Mapping[str, object], now: datetime,
        given: Mapping[str, object] | None = None,
    ) -> tuple[Action, Record, Situation]:  # fmt: skip
        if call is None or call.action not in self.actions:
            name = call.action if call else "none"
            raise Failed(f"there is no action {name!r}: what it needs is not set up here")
        action = self.actions[call.action]
        try:
            asked = decode(action.Parameters, given if given is not None else self.render(call.parameters, context))
        except Invalid as wrong:
            raise Failed(f"parameters: {wrong.message}") from wrong
        step_id = key.partition("/")[0]
        at = Situation(
            key=f"{kept.id}/{key}", run_id=kept.id, step_id=step_id, actor=f"playbook:{kept.playbook.id}",
            incident=kept.incident, now=now,
        )  # fmt: skip
        return action, asked, at

    async def _context(self, kept: Kept) -> Mapping[str, object]:
        """What templates may use: the incident, what earlier steps gave, and the run."""
        outputs = await self.runs.outputs(kept.id)
        return {
            "incident": kept.incident.model_dump(mode="json"),
            "steps": {id_: {"output": output} for id_, output in outputs.items()},
            "run": {"id": kept.id, "playbook": kept.playbook.id, "started_by": kept.state.started_by},
        }


def _said(kept: Kept, ended: bool) -> str:
    run, name = kept.state, f"Playbook {kept.playbook.name} (run {kept.id})"
    if ended:
        return f"{name} has ended: {run.error if run.status is RunStatus.CANCELLED else _outcome(run)}."
    return f"{name} has begun, {f'by {run.started_by}' if run.by_hand else 'by itself'}."


def _outcome(run: Run) -> str:
    return f"{run.status}, {run.error}" if run.error else run.status


def _true(said: object) -> bool:
    return str(said).strip().lower() in ("true", "yes", "1")


@contextlib.asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
