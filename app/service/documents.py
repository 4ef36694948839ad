"""Configuration as documents, one generic CRUD for every kind; what refers to what is checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from app.domain.access import Principal, Scope
from app.domain.catalogue import Service
from app.domain.decode import decode
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.escalation import Policy
from app.domain.heartbeat import Heartbeat
from app.domain.mapping import Mapping
from app.domain.matching import Condition
from app.domain.oncall import Schedule, people_of
from app.domain.people import Team, User
from app.domain.playbook import Playbook
from app.domain.record import Record
from app.domain.requests import Document
from app.domain.rules import Assign, Notify, Rule, SetPolicy
from app.domain.suppression import HOLDS, InhibitionRule, MaintenanceWindow, Silence, sides
from app.domain.template import Template
from app.domain.vocabulary import TargetType
from app.service.templates import checked
from app.store.database import answering
from app.store.documents import DocumentStore
from app.store.holding import HoldingStore

DURABLE_WITHIN = timedelta(seconds=10)
"""An alert is stored, or refused, so long after the moment its incident says it was opened at (chosen, amply)."""
TARGETS = {TargetType.USER: "users", TargetType.TEAM: "teams", TargetType.ON_CALL: "schedules"}
Reference = tuple[str, str, str]
"""Where it stands (a field path), and the kind and id of the document it names."""


@dataclass(frozen=True)
class Documents:
    """`check_url` refuses web addresses that messages may not be sent to, `check_playbook` what can't be done here.

    `check_mapping` refuses what is no expression.
    """

    KINDS: ClassVar[dict[str, type[Record]]] = {
        "users": User, "schedules": Schedule, "teams": Team, "notification-templates": Template,
        "escalation-policies": Policy, "routing-rules": Rule, "services": Service,
        "silences": Silence, "maintenance-windows": MaintenanceWindow, "inhibition-rules": InhibitionRule,
        "playbooks": Playbook, "mappings": Mapping, "heartbeats": Heartbeat,
    }  # fmt: skip
    SCOPES: ClassVar[dict[str, Scope]] = {"silences": Scope.RESPOND}
    """Who may write, where that isn't for administrators only."""

    store: DocumentStore
    check_url: Callable[[str], None]
    default_policy: str
    default_timeout_secs: int
    holding: HoldingStore
    check_playbook: Callable[[Playbook], None] = lambda _: None
    check_mapping: Callable[[Mapping], None] = lambda _: None

    async def get(self, who: Principal, kind: str, id_: str) -> Document:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            found = await self.store.get(kind, id_)
        if found is None:
            raise NotFound(kind, id_)
        return found

    async def versions(self, who: Principal, kind: str, id_: str) -> list[Document]:
        """Every version, the oldest first. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            found = await self.store.versions(kind, id_)
        if not found:
            raise NotFound(kind, id_)
        return found

    async def put(
        self, who: Principal, kind: str, id_: str, body: object, expected_version: int | None = None
    ) -> Document:
        """Creates or replaces a document. `expected_version` is the version it must follow, 0 for none yet.

        Raises: Forbidden, Invalid (the field and what is allowed), Conflict, Unavailable.
        """
        who.may(self.SCOPES.get(kind, Scope.ADMINISTER))
        document = self._validated(kind, id_, body)
        self._check_addresses(document)
        if isinstance(document, Template):
            checked(document)
        if isinstance(document, Playbook):
            self.check_playbook(document)
        if isinstance(document, Mapping):
            self.check_mapping(document)
        at, shown = datetime.now(UTC), document.model_dump(mode="json")
        async with answering():
            await self._check_references(document)
            sides = await self._sides(kind, id_, document)
            version = await self.store.write(
                kind, id_, shown, expected=expected_version, by=who.name, at=at,
                touched=await self.holding.matched(sides, at),
            )  # fmt: skip
            await self._catch_up(sides, at)
        return Document(kind=kind, id=id_, version=version, body=shown, updated_at=at, updated_by=who.name)

    async def delete(self, who: Principal, kind: str, id_: str) -> None:
        """Raises: Forbidden, NotFound, Conflict when another document refers to it, Unavailable."""
        who.may(self.SCOPES.get(kind, Scope.ADMINISTER))
        at = datetime.now(UTC)
        async with answering():
            if await self.store.get(kind, id_) is None:
                raise NotFound(kind, id_)
            if (kind, id_) == ("escalation-policies", self.default_policy):
                raise Conflict(f"{id_!r} is the default policy: replace it, or name another default first.")
            for other_kind, model in self.KINDS.items():
                for other in await self.store.all(other_kind):
                    for path, *named in references(model.model_validate(other.body)):
                        if named == [kind, id_]:
                            raise Conflict(f"{other_kind} {other.id!r} refers to it at {path}: change that first.")
            sides = await self._sides(kind, id_, None)
            touched = await self.holding.matched(sides, at)
            await self.store.write(kind, id_, None, expected=None, by=who.name, at=at, touched=touched)
            await self._catch_up(sides, at)

    async def list(self, who: Principal, kind: str) -> "list[Document]":
        """All of a kind, by id. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.all(kind)

    def _validated(self, kind: str, id_: str, body: object) -> Record:
        """The document a body describes. Raises: Invalid."""
        if not isinstance(body, dict):
            raise Invalid.field("body", "must be a JSON object")
        body = {"id": id_, **body}
        if body["id"] != id_:
            raise Invalid.field("id", f"must be {id_!r}, as in the address")
        if kind == "escalation-policies":
            body = with_patience(body, self.default_timeout_secs)
        return decode(self.KINDS[kind], body)

    def _check_addresses(self, document: Record) -> None:
        urls = []
        if isinstance(document, User) and document.webhook_url:
            urls.append(("webhook_url", document.webhook_url))
        if isinstance(document, Policy):
            for n, level in enumerate(document.levels):
                for m, target in enumerate(level.targets):
                    if target.type is TargetType.EXTERNAL and target.id.startswith("http"):
                        urls.append((f"levels[{n}].targets[{m}].id", target.id))
        if isinstance(document, Rule):
            outside = [(path, id_) for path, type_, id_ in told(document) if type_ is TargetType.EXTERNAL]
            urls += [(path, id_) for path, id_ in outside if id_.startswith("http")]
        for where, url in urls:
            try:
                self.check_url(url)
            except Invalid as refused:
                raise Invalid.field(where, refused.message) from refused

    async def _sides(self, kind: str, id_: str, after: Record | None) -> "Sequence[Condition]":
        """What the incidents have in common that a document, as it was or will be, can keep from paging."""
        if kind not in HOLDS:
            return ()
        before = await self.store.get(kind, id_)
        versions = [after, self.KINDS[kind].model_validate(before.body) if before is not None else None]
        return [side for one in versions if one is not None for side in sides(one)]

    async def _catch_up(self, sides: "Sequence[Condition]", at: datetime) -> None:
        """Whoever opened while a document was being written may have been judged by the one before."""
        late = await self.holding.matched(sides, at, since=at - DURABLE_WITHIN)
        await self.holding.look_again(map(str, late))

    async def _check_references(self, document: Record) -> None:
        for where, kind, id_ in references(document):
            if await self.store.get(kind, id_) is None:
                raise Invalid.field(where, f"there is no {kind.removesuffix('s')} {id_!r}")


def references(document: Record) -> "list[Reference]":
    """Every document another one names."""
    if isinstance(document, Team):
        named = [(f"members[{n}]", "users", member) for n, member in enumerate(document.members)]
        own = {"schedules": document.on_call_schedule_id, "escalation-policies": document.escalation_policy_id}
        fields = {"schedules": "on_call_schedule_id", "escalation-policies": "escalation_policy_id"}
        return named + [(fields[kind], kind, id_) for kind, id_ in own.items() if id_ is not None]
    if isinstance(document, Schedule):
        team = [("team_id", "teams", document.team_id)] if document.team_id is not None else []
        return team + [(path, "users", user) for user, path in people_of(document).items()]
    if isinstance(document, Policy):
        return [
            (f"levels[{n}].targets[{m}]{path}.id", TARGETS[target.type], target.id)
            for n, level in enumerate(document.levels)
            for m, named_target in enumerate(level.targets)
            for path, target in (("", named_target), (".fallback", named_target.fallback))
            if target is not None and target.type in TARGETS
        ] + [
            (f"levels[{n}].template", "notification-templates", level.template)
            for n, level in enumerate(document.levels)
            if level.template is not None
        ]
    if isinstance(document, Playbook):
        return approvers(document)
    if isinstance(document, Rule):
        policies = [
            (f"actions[{n}].policy_id", "escalation-policies", action.policy_id)
            for n, action in enumerate(document.actions)
            if isinstance(action, SetPolicy)
        ]
        return policies + [(path, TARGETS[type_], id_) for path, type_, id_ in told(document) if type_ in TARGETS]
    return []


def approvers(playbook: Playbook) -> "list[Reference]":
    """Everybody whose word a playbook may wait for."""
    waits = [("execution.approval", playbook.execution.approval)]
    waits += [(f"steps[{n}].approval", step.approval) for n, step in enumerate(playbook.steps)]
    return [
        (f"{where}.{name}[{m}].id", TARGETS[target.type], target.id)
        for where, approval in waits
        if approval is not None
        for name, targets in (("approvers", approval.approvers), ("escalate_to", approval.escalate_to))
        for m, target in enumerate(targets)
        if target.type in TARGETS
    ]


def told(rule: Rule) -> "list[tuple[str, TargetType, str]]":
    """Everybody a rule notifies or assigns to: where they stand, what they are, and their id."""
    named: list[tuple[str, TargetType, str]] = []
    for n, action in enumerate(rule.actions):
        at = f"actions[{n}].targets"
        if isinstance(action, Assign):
            named += [(f"{at}[{m}].id", target.type, target.id) for m, target in enumerate(action.targets)]
        if isinstance(action, Notify):
            for m, target in enumerate(action.targets):
                named.append((f"{at}[{m}].id", target.type, target.id))
                if target.fallback is not None:
                    named.append((f"{at}[{m}].fallback.id", target.fallback.type, target.fallback.id))
    return named


def with_patience(policy: dict[str, object], seconds: int) -> dict[str, object]:
    """A policy whose levels all say how long they wait."""
    levels = policy.get("levels")
    if not isinstance(levels, list):
        return policy
    default = {"escalate_after_secs": seconds}
    silent = [
        isinstance(level, dict) and not level.keys() & {"escalate_after_secs", "escalate_after"} for level in levels
    ]
    return policy | {"levels": [default | level if mute else level for level, mute in zip(levels, silent, strict=True)]}
