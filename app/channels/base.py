"""A way to reach people (being written)."""

from typing import Any, Protocol

from app.domain.notification import Message, Receipt


class Channel(Protocol):
    Address: Any

    async def send(self, message: Message, to: Any) -> Receipt: ...
