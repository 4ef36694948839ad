"""What everybody who looks around an incident can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.domain.enrichment import About, Found

if TYPE_CHECKING:
    from app.store.catalogue import CatalogueStore
    from app.store.changes import ChangeStore
    from app.store.documents import DocumentStore
    from app.store.history import HistoryStore


class Enricher(Protocol):
    """`external`: asks others than our own PostgreSQL. `timeout_secs` is the longest one look-up may take."""

    @property
    def name(self) -> str: ...

    @property
    def external(self) -> bool: ...

    @property
    def timeout_secs(self) -> float: ...

    def key(self, about: About) -> str:
        """Everything the answer depends on: two incidents with the same key may share one."""
        ...

    async def look_up(self, about: About) -> Found | None:
        """What there is; None = nothing. Raises: NoAnswer."""
        ...


@dataclass(frozen=True)
class Stores:
    """What is in our own PostgreSQL."""

    history: HistoryStore
    documents: DocumentStore
    catalogue: CatalogueStore
    changes: ChangeStore
