"""What a token says of its bearer."""

from typing import Any

import pytest

from app.domain.claims import name_in, role_in
from app.domain.errors import Forbidden, InvalidToken
from app.domain.vocabulary import Role


@pytest.mark.parametrize(("path", "claims", "role"), [
    ("roles", {"roles": "viewer"}, Role.VIEWER),
    ("roles", {"roles": ["viewer", "admin", "ingest"]}, Role.ADMIN),
    ("roles", {"roles": "The SRE team"}, Role.RESPONDER),
    ("realm_access.roles", {"realm_access": {"roles": ["sre"]}}, Role.RESPONDER),
    ("https://example.com/roles", {"https://example.com/roles": ["sre"]}, Role.RESPONDER),
    ("scope", {"scope": "openid sre email"}, Role.RESPONDER),
])  # fmt: skip
def test_a_role_is_found_wherever_issuers_put_it(path: str, claims: dict[str, Any], role: Role) -> None:
    assert role_in(claims, path, {"sre": Role.RESPONDER, "The SRE team": Role.RESPONDER}) is role


def test_a_mapping_may_give_our_own_names_another_meaning() -> None:
    assert role_in({"roles": "admin"}, "roles", {"admin": Role.VIEWER}) is Role.VIEWER


@pytest.mark.parametrize("claims", [{}, {"a": None}, {"a": {"b": []}}, {"a": ["b"]}, {"a": {"b": "Admin"}}])
def test_no_role_is_a_refusal_that_names_the_claim(claims: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match=r"'a\.b'"):
        role_in(claims, "a.b", {})


@pytest.mark.parametrize(("claims", "name"), [
    ({"sub": "u-1", "email": "ada@example.com", "preferred_username": "ada"}, "ada@example.com"),
    ({"sub": "u-1", "email": "ada@example.com", "email_verified": False, "preferred_username": "ada"}, "ada"),
    ({"sub": "u-1", "email": "", "preferred_username": 7}, "u-1"),
    ({"sub": "u-1", "email": "\ud800", "preferred_username": "x" * 201}, "u-1"),
])  # fmt: skip
def test_a_bearer_is_called_by_the_first_name_there_is(claims: dict[str, Any], name: str) -> None:
    assert name_in(claims, None) == name


def test_a_name_that_was_asked_for_has_no_substitute() -> None:
    assert name_in({"sub": "u-1", "person": {"nick": "Ada L."}}, "person.nick") == "Ada L."
    with pytest.raises(InvalidToken, match="no nick of"):
        name_in({"sub": "u-1"}, "nick")
