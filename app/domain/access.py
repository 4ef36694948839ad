"""Who asks, and what they may."""

from enum import StrEnum

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
    """Somebody the door has let in. `name` is the actor on the timeline."""

    name: str
    role: Role
    actor_type: ActorType = ActorType.USER

    def allowed(self, scope: Scope) -> bool:
        return scope in SCOPES[self.role]

    def may(self, scope: Scope) -> None:
        """Raises: Forbidden, naming the roles that may."""
        if not self.allowed(scope):
            able = ", ".join(role for role, scopes in SCOPES.items() if scope in scopes)
            raise Forbidden(f"The role {self.role} may not {scope}; these may: {able}.")


ANYBODY_ON_THIS_MACHINE = Principal(name="local", role=Role.ADMIN)
