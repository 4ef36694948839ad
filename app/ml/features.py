"""What a model is shown of an incident: hashed words, character n-grams and fields, as one sparse row.

The reporter's severity is no feature, nor is a label or an expression that repeats it: a model that
is told the answer learns nothing and agrees with everybody.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from app.domain.record import Record
from app.domain.vocabulary import Category, IncidentType, Severity

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORDS, GRAMS = 1 << 17, 1 << 15
"""Columns below WORDS are words, pairs and fields, columns from there on are character n-grams of the title."""
COLUMNS = WORDS + GRAMS
ODD = 40_503
GRAM = 4
DESCRIPTION_READ = 300
EXPRESSION_READ = 300
LABELS_READ = 32
LABEL_READ = 120
TITLE_READ = 240

TELLTALE = re.compile(r"sever|priorit|urgen|level|\bpage[rd]?\b|\bsev\b|critical|impact", re.IGNORECASE)
SAID = re.compile(r"""\b(severity|priority|level|urgency)\s*(=~|!=|!~|=)\s*(["'])[^"']*\3""", re.IGNORECASE)
WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]|(?<!\d)\d{1,4}(?!\d)")


class Origin(StrEnum):
    """Who says that a label is right, the most trusted first."""

    TEAM = "team"
    RULES = "rules"
    BOOTSTRAP = "bootstrap"


class Example(Record):
    """An incident as a model sees it. `expr` is the query or the metric names behind it."""

    title: str = ""
    description: str = ""
    source: str = ""
    service: tuple[str, ...] = ()
    environment: str | None = None
    labels: dict[str, str] = {}
    expr: str = ""
    at: datetime | None = None


class Labelled(Record):
    """An example and what it should have been. Examples of one `key` are never on both sides of a split."""

    example: Example
    severity: Severity | None = None
    incident_class: str | None = None
    origin: Origin = Origin.TEAM
    key: str
    path: str | None = None


class Prediction(Record):
    """`confidence` is the probability of `severity`; the reasons are the words and fields that spoke most for it.

    Class, type and category are None where the model is unsure.
    """

    severity: Severity
    confidence: float
    probabilities: dict[Severity, float]
    reasons: tuple[str, ...] = ()
    incident_class: str | None = None
    incident_type: IncidentType | None = None
    category: Category | None = None
    class_confidence: float = 0.0


class Metrics(Record):
    """How well `n` held-out labels were predicted.

    `majority`: the accuracy of always saying the commonest severity. `qwk`: Cohen's kappa with quadratic
    weights. `ece`: expected calibration error, 10 bins of equal width over the confidence of the severity
    said. `brier`: summed over the classes (0 … 2). `standard_error`: of the accuracy.
    """

    n: int
    accuracy: float
    majority: float
    macro_f1: float
    qwk: float
    ece: float
    brier: float
    standard_error: float


class Features(NamedTuple):
    """The first of `columns` are the words', one each in order; then come pairs of words and character n-grams."""

    words: list[str]
    columns: list[int]


def words(text: str) -> list[str]:
    """Lower-case words and numbers; CamelCase and snake_case are taken apart, numbers from five digits on left out."""
    return " ".join(WORD.findall(text)).lower().split()


def title_key(title: str) -> str:
    """The title's words, for grouping: `HighCPU on node-7` and `high cpu on node 7` are one key."""
    return " ".join(words(title))


@lru_cache(maxsize=1 << 17)
def _column(name: str) -> int:
    return crc32(name.encode("utf-8", "replace")) & (WORDS - 1)


@lru_cache(maxsize=1 << 16)
def _gram(text: str) -> int:
    return WORDS + crc32(text.encode("utf-8", "replace")) % GRAMS


def _pairs(columns: list[int]) -> list[int]:
    return [(one * ODD ^ other) & (WORDS - 1) for one, other in pairwise(columns)]


def features(example: Example) -> Features:
    """Everything a model is told, by name and by column (CRC-32 of the name)."""
    title = words(example.title[:TITLE_READ])
    text = words(example.description[:DESCRIPTION_READ])
    found = [*title, *text]
    found += ["t:" + word for word in title]
    found += ["e:" + word for word in words(SAID.sub(" ", example.expr[:EXPRESSION_READ]))]
    found += _fields(example)
    columns = list(map(_column, found))
    columns += _pairs(columns[: len(title)])
    columns += _pairs(columns[len(title) : len(title) + len(text)])
    flat = f" {' '.join(title)} "
    columns += [_gram(flat[i : i + GRAM]) for i in range(len(flat) - GRAM + 1)]
    return Features(found, columns)


def _fields(example: Example) -> Iterator[str]:
    if example.source:
        yield "source:" + example.source.lower()
    if example.environment:
        yield "environment:" + example.environment.lower()
    for service in example.service:
        yield from _field("service", service)
    for name in sorted(example.labels)[:LABELS_READ]:
        yield from _field(name, example.labels[name])
    if example.at is not None:
        yield f"hour:{example.at.hour // 6 * 6}"
        yield "weekend" if example.at.weekday() > 4 else "weekday"


@lru_cache(maxsize=1 << 13)
def _field(name: str, value: str) -> tuple[str, ...]:
    """That it is there, and its words; nothing of a name that tells the severity."""
    if TELLTALE.search(name):
        return ()
    return ("label:" + name, *(f"{name}:{word}" for word in words(value[:LABEL_READ])))


def matrix(rows: Sequence[Features]) -> "csr_matrix":
    """One row per example, 1 where it has a feature and nothing stored where it hasn't."""
    import numpy as np
    from scipy.sparse import csr_matrix

    sets = [set(row.columns) for row in rows]
    ends = np.zeros(len(rows) + 1, np.int32)
    np.cumsum([len(found) for found in sets], out=ends[1:])
    columns = np.fromiter(chain.from_iterable(sets), np.int32, ends[-1])
    return csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(rows), COLUMNS))
