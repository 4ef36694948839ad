"""What the model is taught, what it would say, and which model counts."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AliasChoices, Field, StringConstraints
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from activities.classifying import Champion, judged
from app.domain.access import Principal, Scope
from app.domain.alert import TEXT_MAX, TITLE_MAX, Labels
from app.domain.errors import Unavailable
from app.domain.record import Record
from app.domain.requests import Title
from app.domain.severity import LABELS_NEEDED
from app.domain.vocabulary import Category, Environment, IncidentType, Severity
from app.ml.features import Example, Prediction
from app.store.database import AWAY, answering
from app.store.models import ModelStore, ModelView, NewLabel
from workflows import names, options
from workflows.upkeep import RetrainWorkflow

PREDICTS_WITHIN_SECS = 20.0
LABELS_MAX = 1000
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Feedback(Record):
    """The severity an incident should have had, as a person says."""

    severity: Severity
    incident_type: IncidentType | None = None


class Kept(Record):
    """The label that feedback became, and how many labels no model has learned from yet. `training`: one began."""

    incident_id: str
    severity: Severity
    by: str
    unlearned: int
    training: bool


class Question(Record):
    """An incident as it would be reported; `severity` is what its reporter says, P3 where nobody does."""

    title: Title
    description: Annotated[str, StringConstraints(max_length=TEXT_MAX)] = ""
    source: str = Field(default="", max_length=255)
    affected_services: tuple[Name, ...] = Field(
        default=(), max_length=100, validation_alias=AliasChoices("affected_services", "service", "affected_resources")
    )
    environment: Environment | None = None
    tags: Labels = Field(default={}, validation_alias=AliasChoices("tags", "labels"))
    expr: str = Field(default="", max_length=TEXT_MAX)
    severity: Severity = Severity.P3

    @property
    def example(self) -> Example:
        return Example(
            title=self.title, description=self.description, source=self.source, service=self.affected_services,
            environment=self.environment, labels=self.tags, expr=self.expr,
        )  # fmt: skip


class Answer(Record):
    """What the model says, what would stand, and why. Probabilities are 0 to 1."""

    severity: Severity
    confidence: float
    probabilities: dict[Severity, float]
    reasons: list[str]
    stands: Severity
    applied: bool
    reason: str
    model_version: int


class FullAnswer(Answer):
    """Class, type and category are None where the model is unsure."""

    incident_class: str | None
    incident_type: IncidentType | None
    category: Category | None


class GivenLabel(Record):
    """One label of a rule file: the rule as an incident, and the severity its author gave it."""

    title: str = Field(min_length=1, max_length=TITLE_MAX)
    description: str = Field(default="", max_length=TEXT_MAX)
    source: str = Field(default="", max_length=255)
    service: tuple[str, ...] = Field(default=(), max_length=100)
    labels: Labels = {}
    expr: str = Field(default="", max_length=TEXT_MAX)
    path: str = Field(default="", max_length=1024)
    severity: Severity


class GivenLabels(Record):
    labels: tuple[GivenLabel, ...] = Field(min_length=1, max_length=LABELS_MAX)


class Stats(Record):
    """How the learning stands. `labels` by origin; `needed` of the team's own before a severity is ever changed."""

    enabled: bool
    threshold: float
    labels: dict[str, int]
    team_labels: int
    needed: int
    unlearned: int
    champion: ModelView | None


class Training(Record):
    """A training under way; asked for twice it is one."""

    workflow_id: str
    run_id: str


@dataclass(frozen=True)
class Learning:
    """`batch` new labels start a training; None = only the schedule and people do."""

    store: ModelStore
    champion: Champion
    temporal: Client
    enabled: bool
    threshold: float
    batch: int | None

    async def feedback(self, who: Principal, incident_id: str, said: Feedback) -> Kept:
        """Remembers a person's word; the same person's newest counts.

        Raises: Forbidden, NotFound, Unavailable.
        """
        who.may(Scope.RESPOND)
        async with answering():
            row = await self.store.incident(incident_id)
            label = NewLabel(
                f"feedback/{incident_id}/{who.name}", UUID(incident_id), row["example"], said.severity,
                said.incident_type,
            )  # fmt: skip
            await self.store.label([label], origin="feedback", by=who.name, at=datetime.now(UTC))
            unlearned = await self.store.unlearned()
        due = self.batch is not None and unlearned >= self.batch
        started = due and await self._started() is not None
        return Kept(incident_id=incident_id, severity=said.severity, by=who.name, unlearned=unlearned, training=started)

    async def learn(self, who: Principal, given: GivenLabels) -> int:
        """Keeps labels of rule files; how many. The same rule again is one. Raises: Forbidden, Unavailable."""
        who.may(Scope.ADMINISTER)
        labels = []
        for one in given.labels:
            example = Example.model_validate(one.model_dump(exclude={"severity"}))
            said = f"{example.title}\n{example.description}\n{example.source}\n{example.expr}"
            key = f"rules/{hashlib.sha256(said.encode()).hexdigest()}"
            labels.append(NewLabel(key, None, example.model_dump(mode="json") | {"path": one.path}, one.severity, None))
        async with answering():
            await self.store.label(labels, origin="rules", by=who.name, at=datetime.now(UTC))
        return len(labels)

    async def predict(self, who: Principal, question: Question) -> FullAnswer:
        """What the champion says of an incident, and what would stand. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        try:
            found = await self.champion.get(PREDICTS_WITHIN_SECS)
        except AWAY as away:
            raise Unavailable("database", "PostgreSQL does not answer. Try again in a moment.") from away
        if found is None:
            raise Unavailable("ml", "There is no model yet: one is being made. Try again in a moment.", retry_after=5)
        version, model = found
        said: Prediction = model.predict([question.example])[0]
        stands = judged(question.severity, said, model, self.threshold)
        return FullAnswer(
            **said.model_dump(exclude={"class_confidence", "reasons"}), reasons=list(said.reasons),
            stands=stands.severity, applied=stands.applied, reason=stands.reason, model_version=version,
        )  # fmt: skip

    async def stats(self, who: Principal) -> Stats:
        """Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            labels = await self.store.labels_by_origin()
            models = await self.store.all()
            unlearned = await self.store.unlearned()
        return Stats(
            enabled=self.enabled, threshold=self.threshold, labels=labels, needed=LABELS_NEEDED, unlearned=unlearned,
            team_labels=labels["feedback"] + labels["resolved"],
            champion=next((model for model in models if model.status == "champion"), None),
        )  # fmt: skip

    async def models(self, who: Principal) -> list[ModelView]:
        """Every model, the newest first. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.all()

    async def retrain(self, who: Principal) -> Training:
        """Starts a training, or joins the one that runs. Raises: Forbidden, Unavailable."""
        who.may(Scope.ADMINISTER)
        started = await self._started()
        if started is None:
            raise Unavailable("temporal", "Temporal does not answer; no training was started.", retry_after=2)
        return started

    async def roll_back(self, who: Principal, version: int) -> ModelView:
        """A model counts from now on, whatever came after it. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.ADMINISTER)
        async with answering():
            return await self.store.promote(version, datetime.now(UTC))

    async def pin(self, who: Principal, version: int, *, pinned: bool) -> ModelView:
        """No training replaces a pinned champion. Raises: Forbidden, NotFound, Conflict, Unavailable."""
        who.may(Scope.ADMINISTER)
        async with answering():
            return await self.store.pin(version, pinned=pinned)

    async def forget(self, who: Principal, version: int) -> None:
        """Raises: Forbidden, NotFound, Conflict for the champion, Unavailable."""
        who.may(Scope.ADMINISTER)
        async with answering():
            await self.store.delete(version)

    async def _started(self) -> Training | None:
        try:
            handle: Any = await self.temporal.start_workflow(
                RetrainWorkflow.run, True, id=names.RETRAIN, task_queue=names.UPKEEP,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING, rpc_timeout=options.STORE_TIMEOUT,
            )  # fmt: skip
        except (RPCError, RuntimeError, OSError):
            return None
        return Training(workflow_id=handle.id, run_id=handle.result_run_id or handle.first_execution_run_id or "")
