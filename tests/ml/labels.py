"""A made-up organisation: what its alerts are called decides how urgent they are."""

from collections.abc import Sequence
from random import Random

from app.domain.vocabulary import Severity
from app.ml.features import Example, Labelled, Origin, title_key

PLACES = ("checkout", "search", "billing", "login", "orders", "images", "mail", "reports", "cart", "profile")
POLICY = {
    "outage of": Severity.P0, "errors in": Severity.P1, "slow answers from": Severity.P2,
    "disk fills up on": Severity.P3, "certificate renewed for": Severity.P4,
}  # fmt: skip


def example(words: str, place: str, number: int, **more: object) -> Example:
    return Example.model_validate(
        {"title": f"{words} {place} {number}", "source": "prometheus", "service": (place,), **more}
    )


def labels(count: int, origin: Origin = Origin.TEAM, seed: int = 0, noise: float = 0.1) -> list[Labelled]:
    """`noise` is the share of labels that follow no policy at all."""
    chance = Random(seed)
    return [_label(chance, i, origin, noise) for i in range(count)]


def _label(chance: Random, number: int, origin: Origin, noise: float) -> Labelled:
    words = chance.choice(list(POLICY))
    severity = chance.choice(list(Severity)) if chance.random() < noise else POLICY[words]
    one = example(words, chance.choice(PLACES), number)
    return Labelled(
        example=one, severity=severity, origin=origin, key=title_key(one.title), path=f"{number % 7}/rules.yaml"
    )


def relabelled(some: Sequence[Labelled], severity: Severity) -> list[Labelled]:
    return [one.model_copy(update={"severity": severity}) for one in some]
