"""The bootstrap corpus: LLM incidents in our own words, for the days before the team has labelled any."""

from functools import cache
from pathlib import Path

import yaml

from app.domain.taxonomy import KINDS
from app.ml.features import Example, Labelled, Origin, title_key

CORPUS = Path(__file__).with_name("corpus.yaml")


@cache
def bootstrap() -> tuple[Labelled, ...]:
    """Every phrasing as an example of its class, with the base severity of LLM classes (others have none)."""
    classes: dict[str, list[str]] = yaml.safe_load(CORPUS.read_text(encoding="utf-8"))
    return tuple(_labelled(name, text) for name, texts in classes.items() for text in texts)


def _labelled(name: str, text: str) -> Labelled:
    title, _, description = text.partition(" — ")
    return Labelled(
        example=Example(title=title, description=description),
        severity=None if name.startswith("other.") else KINDS[name].severity,
        incident_class=name, origin=Origin.BOOTSTRAP, key=title_key(title), path=f"bootstrap.{name}",
    )  # fmt: skip
