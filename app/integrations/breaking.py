"""Where a dependency's circuit breaker is asked, whoever keeps it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from app.net.breakers import Open


class Call(Protocol):
    def failed(self) -> None:
        """It answered, but as one that isn't well."""
        ...


class Breakers(Protocol):
    def call(self, name: str) -> AbstractContextManager[Call]:
        """Around one request to `name`: left normally it is a success, unless `failed` was said; left by an error of

        ours nothing is learned. Raises: Open.
        """
        ...


class NeverOpen:
    """No breakers at all."""

    def failed(self) -> None:
        pass

    def call(self, name: str) -> AbstractContextManager[Call]:
        return nullcontext(self)


__all__ = ["Breakers", "Call", "NeverOpen", "Open"]
