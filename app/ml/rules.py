"""Rule files that a team trusts, as labels: Prometheus and Sigma.

Sources: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/ (`groups[].rules[]`, also
inside a PrometheusRule resource's `spec`), https://github.com/SigmaHQ/sigma-specification (`level`, `logsource`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from app.domain.record import Record
from app.domain.vocabulary import Severity
from app.ml.features import Example, Labelled, Origin, title_key

FILES_MAX = 20_000
FILE_BYTES_MAX = 4 * 1024 * 1024
RULES_MAX = 200_000
SUFFIXES = (".yaml", ".yml", ".rules")
SIGMA_LEVELS = {
    "critical": Severity.P0, "high": Severity.P1, "medium": Severity.P2, "low": Severity.P3,
    "informational": Severity.P4,
}  # fmt: skip
TEXTS = ("description", "summary", "message")


class Skipped(Record):
    """A file that gave no label, or not all of them, and why."""

    path: str
    reason: str


class Rules(Record):
    labelled: tuple[Labelled, ...] = ()
    skipped: tuple[Skipped, ...] = ()


LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
DEEPEST = 100


def read_rules(directory: Path) -> Rules:
    """Every rule with a severity under `directory`, in the order of the paths; unreadable files are named, not fatal.

    Raises: NotADirectoryError.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory")
    labelled: list[Labelled] = []
    skipped: list[Skipped] = []
    for count, file in enumerate(sorted(_files(directory))):
        path = file.relative_to(directory).as_posix()
        if count >= FILES_MAX or len(labelled) >= RULES_MAX:
            skipped.append(
                Skipped(path=path, reason=f"more than {FILES_MAX} files or {RULES_MAX} rules: the rest is not read")
            )
            break
        try:
            found = list(_labels(file, path))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as wrong:
            skipped.append(Skipped(path=path, reason=str(wrong).splitlines()[0][:200] or type(wrong).__name__))
            continue
        labelled += found
        if not found:
            skipped.append(Skipped(path=path, reason="has no alerting or Sigma rule with a severity that we know"))
    return Rules(labelled=tuple(labelled), skipped=tuple(skipped))


def _files(directory: Path) -> Iterator[Path]:
    """Links are not followed: a directory is what is in it."""
    return (
        file for file in directory.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.is_symlink()
    )  # fmt: skip


def _labels(file: Path, path: str) -> Iterator[Labelled]:
    if file.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"is larger than {FILE_BYTES_MAX} bytes")
    text = file.read_text(encoding="utf-8")
    _harmless(text)
    for document in yaml.load_all(text, Loader=LOADER):
        if isinstance(document, Mapping):
            yield from _prometheus(document, path)
            yield from _sigma(document, path)


def _harmless(text: str) -> None:
    """Nested deeply, libyaml's loader overruns its stack; a page of aliases expands to gigabytes.

    Raises: YAMLError.
    """
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"is nested more than {DEEPEST} deep")


def _prometheus(document: Mapping[str, Any], path: str) -> Iterator[Labelled]:
    spec = document.get("spec") if document.get("kind") == "PrometheusRule" else document
    for group in _maps(_map(spec).get("groups")):
        for rule in _maps(group.get("rules")):
            labels, annotations = _texts(rule.get("labels")), _texts(rule.get("annotations"))
            severity = _severity(labels.get("severity") or labels.get("priority"))
            if severity is None or not rule.get("alert"):
                continue
            example = Example(
                title=str(rule["alert"]),
                description=" ".join(annotations[name] for name in TEXTS if name in annotations),
                source="prometheus",
                service=tuple(labels[name] for name in ("service", "job") if name in labels),
                labels=labels,
                expr=str(rule.get("expr") or ""),
            )
            yield _labelled(example, severity, path)


def _sigma(document: Mapping[str, Any], path: str) -> Iterator[Labelled]:
    severity = SIGMA_LEVELS.get(str(document.get("level")).lower())
    if severity is None or not document.get("title") or "logsource" not in document:
        return
    tags = document.get("tags")
    labels = _texts(document["logsource"])
    if isinstance(tags, list):
        labels["tags"] = " ".join(str(tag) for tag in tags)
    example = Example(
        title=str(document["title"]), description=str(document.get("description") or ""), source="sigma", labels=labels
    )
    yield _labelled(example, severity, path)


def _labelled(example: Example, severity: Severity, path: str) -> Labelled:
    return Labelled(
        example=example, severity=severity, origin=Origin.RULES, key=title_key(example.title) or path, path=path
    )


def _severity(word: str | None) -> Severity | None:
    try:
        return Severity(word) if word else None
    except ValueError:
        return None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _texts(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in _map(value).items() if text is not None}
