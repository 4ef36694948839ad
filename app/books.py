"""What runs playbooks, constructed: the half of the composition root that is about them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from activities.approving import Approving
from activities.directory import Directory
from activities.playbooks import Playbooks as PlaybookDeeds
from app.actions import ACTIONS
from app.actions.base import Action, Command, Failed, Operate, Situation, Tools
from app.channels.base import Channel
from app.channels.sandbox import Broken, Form, say
from app.config import Settings
from app.domain.access import Principal
from app.domain.breaker import State
from app.domain.decode import decode
from app.domain.errors import Refused, Unavailable
from app.domain.incident import CommandKind
from app.domain.representation import IncidentView
from app.domain.requests import Ask
from app.domain.vocabulary import ActorType, ChannelName, Role
from app.integrations.four import NOBODY, Four
from app.net.http import Http, Network
from app.service.breakers import Breaking, Why
from app.service.clicks import OneClick
from app.service.incidents import Incidents
from app.store.database import Pool
from app.store.documents import DocumentStore
from app.store.incidents import IncidentStore
from app.store.runs import RunStore
from app.telemetry import metrics

RETRY = timedelta(seconds=2)
DEADLINE_SECS = 20.0
"""Of one request of an action."""


@asynccontextmanager
async def actions(
    settings: Settings,
    networks: Sequence[Network],
    channels: Mapping[ChannelName, Channel],
    command: Command,
    link: Callable[[str], str],
    breaking: Breaking | None = None,
    four: Four = NOBODY,
) -> AsyncIterator[Mapping[str, Action]]:
    """Those that are set up here. `link` makes the address of an incident."""
    breakers = breaking.breakers if breaking else None
    async with Http(networks, deadline_secs=DEADLINE_SECS, breakers=breakers) as http:
        tools = Tools(http, settings, command, channels, link, operating(breaking) if breaking else None, four)
        made = {name: configured(tools) for name, configured in ACTIONS.items()}
        yield {name: action for name, action in made.items() if action is not None}


def commanding(incidents: Incidents) -> Command:
    """Asks incidents in the name of a playbook. Twice with one key is once."""

    async def command(at: Situation, kind: str, **said: object) -> IncidentView:
        who = Principal(name=at.actor, role=Role.RESPONDER, actor_type=ActorType.SYSTEM)
        ask = decode(Ask, {**said, "kind": CommandKind(kind), "key": f"{at.key}/{kind}"[:255]})
        try:
            return await incidents.ask(who, at.incident.id, ask)
        except Unavailable as away:
            raise Failed(away.message, RETRY, doubtful=True) from away
        except Refused as no:
            raise Failed(no.message) from no

    return command


def operating(breaking: Breaking) -> Operate:
    """Opens and closes circuit breakers in the name of a playbook."""

    async def operate(at: Situation, name: str, state: State | None = None, reason: str | None = None) -> State:
        who = Principal(name=at.actor, role=Role.ADMIN, actor_type=ActorType.SYSTEM)
        try:
            if state is None:
                return (await breaking.get(who, name)).state
            turn = breaking.open if state is State.OPEN else breaking.close
            return (await turn(who, name, Why(reason=reason))).state
        except Unavailable as away:
            raise Failed(away.message, RETRY, doubtful=True) from away
        except Refused as no:
            raise Failed(no.message) from no

    return operate


async def nobody(at: Situation, kind: str, **said: object) -> IncidentView:
    """Where playbooks are only looked at."""
    raise Failed("incidents are not commanded from here")


def deeds(
    settings: Settings,
    connections: Pool,
    incidents: IncidentStore,
    directory: Directory,
    channels: Mapping[ChannelName, Channel],
    actions: Mapping[str, Action],
    one_click: OneClick,
) -> PlaybookDeeds:
    """The activities of playbooks."""
    runs = RunStore(connections, incidents)
    asking = Approving(
        directory, DocumentStore(connections), runs, channels, partial(_link, one_click.base), one_click.decide
    )
    return PlaybookDeeds(runs, actions, rendered, asking, metrics.played)


def _link(public: str, run_id: str) -> str:
    return f"{public}/api/v1/playbook-runs/{run_id}"


def rendered(value: object, context: Mapping[str, object]) -> object:
    """Every text within a value, filled in. Raises: Failed, naming what is wrong."""
    if isinstance(value, str):
        try:
            return say(value, context, Form.TEXT) if "{" in value else value
        except Broken as no:
            raise Failed(f"template {value[:80]!r}: {no}") from no
    if isinstance(value, Mapping):
        return {name: rendered(inner, context) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rendered(inner, context) for inner in value]
    return value
