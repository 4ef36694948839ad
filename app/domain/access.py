"""Who asks, and what they may."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from app.domain.errors import Forbidden
from app.domain.record import Record
from app.domain.vocabulary import ActorType, Role


class Scope(StrEnum):
    """One kind of deed. A role is a set of them."""

    SEND_ALERTS = "send alerts"
    READ = "read"
    RESPOND = "respond to incidents"
    ADMINISTER = "administer"


SCOPES: dict[Role, frozenset[Scope]] = {
    Role.INGEST: frozenset({Scope.SEND_ALERTS}),
    Role.VIEWER: frozenset({Scope.READ}),
    Role.RESPONDER: frozenset({Scope.SEND_ALERTS, Scope.READ, Scope.RESPOND}),
    Role.ADMIN: frozenset(Scope),
}


class Principal(Record):
    """Somebody the door has let in. `name` is the actor on the timeline; `id` tells apart who has the same name.

    From `expires_at` on the door would not let them in again; None: as long as their key is valid.
    """

    name: str
    role: Role
    actor_type: ActorType = ActorType.USER
    id: str = ""
    expires_at: datetime | None = None

    def allowed(self, scope: Scope) -> bool:
        return scope in SCOPES[self.role]

    def may(self, scope: Scope) -> None:
        """Raises: Forbidden, naming the roles that may."""
        if not self.allowed(scope):
            able = ", ".join(role for role, scopes in SCOPES.items() if scope in scopes)
            raise Forbidden(f"The role {self.role} may not {scope}; these may: {able}.")


class Allowance(NamedTuple):
    """What somebody may still ask for: `remaining` of `limit` requests, until it is `limit` again in `reset_secs`."""

    limit: int
    remaining: int
    reset_secs: int


ANYBODY_ON_THIS_MACHINE = Principal(name="local", role=Role.ADMIN)
