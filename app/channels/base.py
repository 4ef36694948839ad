"""What every way to reach people can do."""

from typing import Any, Protocol

from app.domain.notification import Message, Receipt
from app.domain.record import Record


class Channel(Protocol):
    """`Address` is the model of where a message goes."""

    @property
    def Address(self) -> type[Record]: ...

    async def send(self, message: Message, to: Any) -> Receipt:
        """Hands over one message. The same `message.key` twice is allowed; saying it twice is not.

        Raises: Undelivered, with a delay when trying again makes sense.
        """
        ...


def plain(text: str) -> str:
    """One line of printable characters: fit for a header, a terminal and a database, whoever wrote it."""
    return " ".join("".join(c if c.isprintable() else " " for c in encodable(text)).split())


def encodable(text: str) -> str:
    """The text with `?` for what UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode()
