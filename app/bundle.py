"""Ready-made documents, installed through the REST API in the order in which they refer to each other.

A bundle is a folder: `<kind>.yaml` holds a list of documents, `<kind>/` one document a file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from app.client import Failed
from app.domain.playbook import Playbook
from app.service.documents import Documents
from llm_incident_manager_client import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from llm_incident_manager_client import SyncIncidentManagerClient

FOLDER = Path(__file__).parent / "bundles"
ORDER = (
    "teams", "notification-templates", "escalation-policies", "routing-rules", "inhibition-rules",
    "maintenance-windows", "playbooks",
)  # fmt: skip
"""Each kind refers to those before it only."""
RULES = "prometheus.rules.yaml"


@dataclass(frozen=True)
class Part:
    """One document, as it is in the bundle."""

    kind: str
    body: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def needs(self) -> frozenset[str]:
        """The actions that have to be set up for it."""
        if self.kind != "playbooks":
            return frozenset()
        steps = Playbook.model_validate(self.body).every()
        return frozenset(call.action for step in steps for call in (step.call, step.undo) if call is not None)


class Outcome(StrEnum):
    CREATED = "created"
    REPLACED = "replaced"
    THERE = "there already"
    CHANGED = "changed by somebody, left alone"
    SKIPPED = "skipped"
    REFUSED = "refused"

    @property
    def writes(self) -> bool:
        return self in (Outcome.CREATED, Outcome.REPLACED)


@dataclass(frozen=True)
class Installed:
    """What became of a part, or would become; `why` says more where there is more to say."""

    kind: str
    id: str
    outcome: Outcome
    why: str = ""

    @property
    def line(self) -> str:
        return f"{self.outcome}: {self.kind} {self.id}" + (f": {self.why}" if self.why else "")


def parts(name: str) -> list[Part]:
    """The documents of a bundle, in the order to install them in. Raises: Failed, naming the bundles there are."""
    folder = _folder(name)
    return [Part(kind, body) for kind in ORDER for body in _of_kind(folder, kind)]


def rules(name: str) -> str:
    """The bundle's rule file for Prometheus, as it stands. Raises: Failed."""
    return (_folder(name) / RULES).read_text()


def for_people(found: Sequence[Part], people: Sequence[str]) -> list[Part]:
    """The same, with these users in its teams."""
    return [
        replace(part, body={**part.body, "members": list(people)}) if people and part.kind == "teams" else part
        for part in found
    ]


def install(
    client: "SyncIncidentManagerClient", found: Sequence[Part], *, force: bool = False, dry_run: bool = False
) -> Iterator[Installed]:
    """Puts the parts in their places, one after the other. What is there in the same words stays, what somebody has

    changed stays too unless `force`; a playbook whose actions aren't set up is skipped. Raises: what the client does,
    but for refusals of one document.
    """
    known = {action["name"] for action in client.request("GET", "api", "v1", "playbook-actions")}
    for part in found:
        if missing := sorted(part.needs - known):
            why = f"needs what is not set up here: {', '.join(missing)}"
            yield Installed(part.kind, part.id, Outcome.SKIPPED, why)
            continue
        there, version = _there(client, part)
        outcome = _judged(part, there, force=force)
        why = ""
        if outcome.writes and not dry_run:
            try:
                client.put_document(part.kind, part.id, part.body, version=version)
            except (Invalid, Conflict) as no:
                outcome, why = Outcome.REFUSED, no.message
        yield Installed(part.kind, part.id, outcome, why)


def _there(client: "SyncIncidentManagerClient", part: Part) -> tuple[Mapping[str, Any] | None, int]:
    """The document that has the part's place, and its version; 0 when there is none."""
    try:
        document = client.document(part.kind, part.id)
    except NotFound:
        return None, 0
    return document.raw, document.version


def _judged(part: Part, there: Mapping[str, Any] | None, *, force: bool) -> Outcome:
    if there is None:
        return Outcome.CREATED
    in_full: Callable[[object], object] = Documents.KINDS[part.kind].model_validate
    if in_full(there) == in_full(part.body):
        return Outcome.THERE
    return Outcome.REPLACED if force else Outcome.CHANGED


def _folder(name: str) -> Path:
    there = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
    if name not in there:
        raise Failed(f"there is no bundle {name!r}; there is {', '.join(there)}")
    return FOLDER / name


def _of_kind(folder: Path, kind: str) -> Iterator[Mapping[str, Any]]:
    file = folder / f"{kind}.yaml"
    if file.is_file():
        yield from yaml.safe_load(file.read_text())
    for path in sorted((folder / kind).glob("*.yaml")):
        yield yaml.safe_load(path.read_text())
