"""The services there are, who owns them, and what they depend on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from app.domain.people import Slug, WebAddress
from app.domain.record import Record

Word = Annotated[str, Field(min_length=1, max_length=255)]


class Link(Record):
    url: WebAddress
    title: str = Field(default="", max_length=200)


class Service(Record):
    """Something that runs, or that others rely on. `owner` is a team's id, or whoever it is in plain words.

    `tier` 1 is what hurts most. `dependencies` are the ids of services it needs, whether they are listed or not.
    Alerts name it by its id, its name or one of `aliases`.
    """

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    owner: str | None = Field(default=None, min_length=1, max_length=200)
    tier: int | None = Field(default=None, ge=1, le=4)
    lifecycle: str | None = Field(default=None, min_length=1, max_length=63)
    dependencies: tuple[Slug, ...] = Field(default=(), max_length=200)
    runbook_url: WebAddress | None = None
    providers: tuple[Word, ...] = Field(default=(), max_length=50)
    models: tuple[Word, ...] = Field(default=(), max_length=200)
    links: tuple[Link, ...] = Field(default=(), max_length=50)
    aliases: tuple[Word, ...] = Field(default=(), max_length=50)
    tags: tuple[Word, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _needs_others(self) -> Self:
        if self.id in self.dependencies:
            raise ValueError("dependencies must not name the service itself")
        return self

    @property
    def names(self) -> frozenset[str]:
        """What alerts may call it, in lower case."""
        return frozenset(name.casefold() for name in (self.id, self.name, *self.aliases))


@dataclass(frozen=True)
class Catalogue:
    """All services by id."""

    services: Mapping[str, Service]

    @cached_property
    def _by_name(self) -> Mapping[str, Service]:
        """An id goes before another service's name, a name before an alias."""
        found: dict[str, Service] = {}
        for names in (lambda s: (s.id,), lambda s: (s.name,), lambda s: s.aliases):
            for service in self.services.values():
                for name in names(service):
                    found.setdefault(name.casefold(), service)
        return found

    def find(self, names: Iterable[str]) -> tuple[Service, ...]:
        """The services that are called so, each once, in the order of the names."""
        found = (self._by_name.get(name.casefold()) for name in names)
        return tuple({service.id: service for service in found if service is not None}.values())

    def edges(self) -> frozenset[tuple[str, str]]:
        """Every (service, what it depends on), by id."""
        return frozenset((service.id, other) for service in self.services.values() for other in service.dependencies)

    def reach(self, ids: Iterable[str], hops: int) -> dict[str, int]:
        """What the services depend on, and they themselves: id → how many dependencies away, at most `hops`."""
        far = dict.fromkeys(ids, 0)
        border = list(far)
        for distance in range(1, hops + 1):
            known = (self.services[id_] for id_ in border if id_ in self.services)
            border = [other for service in known for other in service.dependencies if other not in far]
            far |= dict.fromkeys(border, distance)
        return far
