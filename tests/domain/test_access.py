"""Which role may do what."""

import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE, Principal, Scope
from app.domain.errors import Forbidden
from app.domain.vocabulary import Role

MAY = {
    Role.INGEST: {Scope.SEND_ALERTS},
    Role.VIEWER: {Scope.READ},
    Role.RESPONDER: {Scope.SEND_ALERTS, Scope.READ, Scope.RESPOND},
    Role.ADMIN: {Scope.SEND_ALERTS, Scope.READ, Scope.RESPOND, Scope.ADMINISTER},
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("scope", Scope)
def test_a_role_may_what_it_may_and_a_refusal_says_who_could(role: Role, scope: Scope) -> None:
    who = Principal(name="somebody", role=role)
    if scope in MAY[role]:
        who.may(scope)
        return
    with pytest.raises(Forbidden) as refused:
        who.may(scope)
    able = ", ".join(other for other, scopes in MAY.items() if scope in scopes)
    assert refused.value.message == f"The role {role} may not {scope}; these may: {able}."


def test_without_keys_everybody_on_this_machine_may_everything() -> None:
    for scope in Scope:
        ANYBODY_ON_THIS_MACHINE.may(scope)
