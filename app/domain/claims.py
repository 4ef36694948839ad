"""What a JWT says of its bearer: a name, and a role of ours. Source of the claims' names: OpenID Connect Core, §5.1."""

from collections.abc import Mapping

from app.domain.errors import Forbidden, InvalidToken
from app.domain.vocabulary import Role

Claims = Mapping[str, object]

NAME_MAX = 200


def role_in(claims: Claims, path: str, roles: dict[str, Role]) -> Role:
    """The most powerful of our roles that the claim at `path` names, through `roles` or by the role's own name.

    The claim is a list, one value, or several separated by spaces. Raises: Forbidden, naming the claim.
    """
    said = _at(claims, path)
    values = [said, *said.split()] if isinstance(said, str) else said if isinstance(said, list) else []
    named = {role.value: role for role in Role} | roles
    found = {named[value] for value in values if isinstance(value, str) and value in named}
    if not found:
        raise Forbidden(f"This token gives no role here: its claim {path!r} must name one of {', '.join(named)}.")
    return max(found, key=list(Role).index)


def name_in(claims: Claims, claim: str | None) -> str:
    """Who the bearer is, from `claim`; by default the first there is of a verified e-mail, user name and subject.

    Raises: InvalidToken, naming the claims.
    """
    wanted = [claim] if claim else ["email", "preferred_username", "sub"]
    if claims.get("email_verified") is False and not claim:
        wanted.remove("email")
    for path in wanted:
        said = _at(claims, path)
        if isinstance(said, str) and 0 < len(said) <= NAME_MAX and said.isprintable():
            return said
    raise InvalidToken(
        f"This token names nobody: it has no {' or '.join(wanted)} of 1 to {NAME_MAX} printable characters."
    )


def _at(claims: Claims, path: str) -> object:
    """The claim of that very name, dots and all (Auth0's are URLs), or the one at the end of the dotted path."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
