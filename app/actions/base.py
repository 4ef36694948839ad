"""What every playbook action is.

An action's `Parameters` are rendered before they are checked, so that each value is what will be used. A step runs its
action under one key over all its tries: whoever takes a key does it once. What `run` returns is the step's output;
`undo` gets it back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from app.channels.base import Channel
from app.config import Settings
from app.domain.breaker import State
from app.domain.record import Record
from app.domain.representation import IncidentView
from app.domain.run import Done
from app.domain.situation import Failed, Situation
from app.domain.vocabulary import ChannelName
from app.integrations.four import NOBODY, Four
from app.net.http import Http


class Action(Protocol):
    """`destructive`: it takes something away from users or changes production: two people have to want it.

    `Parameters` is the schema of its parameters. `undoes` says whether `undo` can put back what `run` did.
    """

    @property
    def Parameters(self) -> type[Record]: ...

    @property
    def destructive(self) -> bool: ...

    @property
    def undoes(self) -> bool: ...

    async def check(self, asked: Any, at: Situation) -> str:
        """What it would do, in one line, after looking whether it can. Changes nothing. Raises: Failed."""
        ...

    async def run(self, asked: Any, at: Situation) -> Done:
        """Does it. Twice with one key is once, as far as the other side lets us. Raises: Failed."""
        ...

    async def verify(self, asked: Any, done: Done, at: Situation) -> str:
        """Looks whether it worked; how that shows, in one line. Raises: Failed, retried until it does."""
        ...

    async def undo(self, asked: Any, done: Done, at: Situation) -> Done:
        """Puts back what was there before. Raises: Failed."""
        ...


@dataclass(frozen=True)
class Tools:
    """What actions may use: the guarded way out, and the services that act on incidents as `actor`.

    `channels` are the ways to reach people that are set up; `link` makes the address of an incident from its id;
    `four` are Sentinel, Shield, Edge-Agent and Governance.
    """

    http: Http
    settings: Settings
    command: "Command"
    channels: Mapping[ChannelName, Channel] = field(default_factory=dict)
    link: Callable[[str], str | None] = lambda _: None
    operate: "Operate | None" = None
    four: Four = NOBODY


class Command(Protocol):
    """Asks an incident's workflow for something, in the name of a playbook."""

    async def __call__(self, at: Situation, kind: str, **said: object) -> IncidentView:
        """`kind` and `said` as `app.domain.requests.Ask` has them. Raises: Failed."""
        ...


class Operate(Protocol):
    """Opens or closes a circuit breaker, or only looks at it, in the name of a playbook."""

    async def __call__(self, at: Situation, name: str, state: State | None = None, reason: str | None = None) -> State:
        """The state it is in then. Raises: Failed."""
        ...


Configured = Callable[[Tools], Action | None]


class Plain:
    """An action that has nothing to verify and nothing to undo; others say otherwise."""

    destructive: ClassVar[bool] = False
    undoes: ClassVar[bool] = False

    async def verify(self, asked: Any, done: Done, at: Situation) -> str:
        return done.summary

    async def undo(self, asked: Any, done: Done, at: Situation) -> Done:
        raise Failed("this action cannot be undone")


def told(values: Mapping[str, object]) -> str:
    """Parameters in one line, for people."""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, "", {}, []))


__all__ = ["Action", "Command", "Configured", "Done", "Failed", "Operate", "Plain", "Situation", "Tools", "told"]
