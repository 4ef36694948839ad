"""Backstage's catalog-info.yaml: what a company writes down about its software.

Source: https://backstage.io/docs/features/software-catalog/descriptor-format. Unknown keys are ignored. Annotations
of our own: llmops/tier (1 to 4), llmops/runbook, llmops/model-groups and llmops/providers (lists, by commas).
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from app.domain.errors import Invalid

KINDS = frozenset({"component", "resource", "api", "system"})
ENTITIES_MAX = 1000
DEEPEST = 32
TIERS = {"critical": 1, "high": 2, "medium": 3, "low": 4}
RUNBOOKS = ("llmops/runbook", "llmops/runbook-url", "runbook", "runbook-url")
REF = re.compile(r"(?:(?P<kind>[^:/\s]+):)?(?:(?P<namespace>[^:/\s]+)/)?(?P<name>[^:/\s]+)")

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # where PyYAML was built without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]


class Entity(NamedTuple):
    """One entity: its ref, the service's id, and the fields that the file states; or why it is none of ours."""

    ref: str
    id: str
    stated: dict[str, Any]
    ignored: str | None = None
    refused: str | None = None


def entities(text: str) -> list[Entity]:
    """Every entity of a file, in order. Raises: Invalid where the file as a whole can't be read, with the line."""
    try:
        _check(text)
        documents = list(yaml.load_all(text, Loader))
    except yaml.YAMLError as no:
        mark = getattr(no, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Invalid.field("body", f"is not YAML{where}") from None
    except (ValueError, OverflowError, RecursionError, TypeError):
        raise Invalid.field("body", "has a value that YAML's own types can't hold") from None
    found = [_entity(document) for document in documents if document is not None]
    if not found:
        raise Invalid.field("body", "has no entity: it must be catalog-info.yaml")
    return found


def _check(text: str) -> None:
    """What could grow beyond its file, or go too deep, before anything is built of it. Raises: Invalid."""
    depth = documents = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid.field("body", "must not use aliases, like *this")
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Invalid.field("body", f"must not be nested deeper than {DEEPEST} levels")
        if documents > ENTITIES_MAX:
            raise Invalid.field("body", f"must have at most {ENTITIES_MAX} entities")


def _entity(document: object) -> Entity:
    body = _object(document)
    metadata, spec = _object(body.get("metadata")), _object(body.get("spec"))
    kind, name = _text(body.get("kind")).lower(), _text(metadata.get("name"))
    namespace = _text(metadata.get("namespace")).lower() or "default"
    ref = f"{kind or '?'}:{namespace}/{name or '?'}"[:255]
    if not kind:
        return Entity(ref, "", {}, refused="kind: is required")
    if kind not in KINDS:
        return Entity(ref, "", {}, ignored=f"{kind[:50]} is not one of {', '.join(sorted(KINDS))}")
    if not name:
        return Entity(ref, "", {}, refused="metadata.name: is required")
    stated = {
        "name": _text(metadata.get("title")) or name,
        "description": _text(metadata.get("description"))[:2000],
        "owner": _named(spec.get("owner")),
        "lifecycle": _text(spec.get("lifecycle")),
        "dependencies": _needs(spec),
        "tags": _texts(metadata.get("tags")),
        "links": [link for link in _links(metadata) if link["url"].startswith(("http://", "https://"))],
    } | _annotated(metadata)
    return Entity(ref, _id(namespace, name), {field: value for field, value in stated.items() if value})


def _annotated(metadata: dict[str, Any]) -> dict[str, Any]:
    said = {name: _text(value) for name, value in _object(metadata.get("annotations")).items()}
    tier = said.get("llmops/tier", "").lower().removeprefix("tier").strip(" -_")
    runbook = next((said[name] for name in RUNBOOKS if said.get(name)), "")
    runbook = runbook or next((link["url"] for link in _links(metadata) if "runbook" in link["title"].lower()), "")
    return {
        "tier": TIERS.get(tier, int(tier) if tier.isascii() and tier.isdigit() and len(tier) < 9 else tier),
        "runbook_url": runbook,
        "models": _listed(said.get("llmops/model-groups", "")),
        "providers": _listed(said.get("llmops/providers", "")),
        "aliases": _listed(said.get("backstage.io/kubernetes-id", "")),
    }


def _needs(spec: dict[str, Any]) -> list[str]:
    """`dependsOn` and the APIs it consumes, by our ids."""
    refs = (*_texts(spec.get("dependsOn")), *_texts(spec.get("consumesApis")))
    found = (REF.fullmatch(ref) for ref in refs)
    return list(dict.fromkeys(_id(ref["namespace"] or "default", ref["name"]) for ref in found if ref))


def _named(ref: object) -> str:
    """The name in `group:default/platform`; what is no ref stays as it is."""
    text = _text(ref)
    found = REF.fullmatch(text)
    return found["name"] if found else text


def _id(namespace: str, name: str) -> str:
    return name if namespace.lower() == "default" else f"{namespace.lower()}.{name}"


def _links(metadata: dict[str, Any]) -> Iterator[dict[str, str]]:
    links = metadata.get("links")
    for link in map(_object, links if isinstance(links, list) else ()):
        yield {"url": _text(link.get("url")), "title": _text(link.get("title") or link.get("type"))[:200]}


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _texts(value: object) -> list[str]:
    return [text for text in map(_text, value if isinstance(value, list) else ()) if text]


def _text(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _object(value: object) -> dict[str, Any]:
    return {str(name): part for name, part in value.items()} if isinstance(value, dict) else {}
