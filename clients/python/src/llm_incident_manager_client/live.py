"""Subscriptions that come back: graphql-transport-ws, and what is heard of incidents without a gap.

Source: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llm_incident_manager_client.errors import BadAnswer, Refused, refusal, refusal_of
from llm_incident_manager_client.models import IncidentEvent, read
from llm_incident_manager_client.rest import Backoff, encoded

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection, connect

log = logging.getLogger("llm_incident_manager_client")

OPEN_SECS = 10.0
STEADY_SECS = 10.0
"""A connection that stood for so long was a good one: the next is tried for soon."""
MESSAGE_BYTES, MESSAGES = 16 * 2**20, 1024
"""The longest message, and how many wait here; the rest waits at the server, which drops who is 2,000 behind."""
REMEMBERED = 20_000
"""Events that are known again. A server sends those since the cursor once more after a break: a second's, mostly."""
FOR_GOOD = {4400: "VALIDATION_ERROR", 4401: "AUTHENTICATION_ERROR", 4403: "AUTHORIZATION_ERROR"}
"""Closed with one of these, coming back is of no use."""

CURSOR = "query { eventsCursor }"
INCIDENT = """
id external_id fingerprint severity status category incident_type environment title description impact source
source_event_id resource { type id name metadata } affected_resources assigned_to assigned_team assignees
escalation_policy_id escalation_level escalation_paused created_at updated_at acknowledged_at acknowledged_by
resolved_at closed_at last_seen_at alert_count duplicate_count flap_count tags labels runbook_url
resolution { root_cause resolution_notes resolved_by resolved_at method playbook_used actions_taken { id type
  description executed_by executed_at result metadata } }
metrics { mttd mtta mttr } sla { acknowledgment_deadline resolution_deadline acknowledgment_breached
  resolution_breached acknowledgment_time_remaining resolution_time_remaining }
suppressed suppression routing classification correlation_group: correlation_group_id parent_incident
related_incidents metadata incident_class suggested_playbook
"""
EVENTS = f"""
subscription($after: String, $filter: IncidentFilterInput) {{
  incidentEvents(after: $after, filter: $filter) {{
    cursor update_type: updateType previous_status: oldState new_status: newState becomes_critical: becomesCritical
    event {{ seq incident_id: incidentId event_type: eventType actor {{ name type }} timestamp reason data }}
    incident {{ {INCIDENT} }}
  }}
}}
"""
ALERTS = """
subscription($sources: [String!]) {
  alerts(sources: $sources) {
    id event_id incident_id source source_version timestamp received_at event_type category title description severity
    resource { type id name metadata } metrics tags labels correlation_id parent_event_id payload acknowledged
    deduplicated
  }
}
"""


class Heard:
    """The events that were handed out lately. An event is known by its incident and its number there."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], None] = {}

    def first(self, incident_id: str, seq: int) -> bool:
        """Whether it hasn't been heard; now it has."""
        key = (incident_id, seq)
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return True


@dataclass(frozen=True)
class Listener:
    """`endpoint` is the server's base address over HTTP."""

    endpoint: str
    api_key: str | None
    ping_secs: float

    @property
    def url(self) -> str:
        url = urlsplit(self.endpoint)
        return url._replace(scheme="wss" if url.scheme == "https" else "ws", path=f"{url.path}/graphql/ws").geturl()

    async def events(self, after: str, which: Mapping[str, Any]) -> AsyncGenerator[IncidentEvent, None]:
        """Every event once. After a break it goes on from the cursor of the last one."""
        heard = Heard()
        asked = {"after": after, "filter": which}
        async with aclosing(self.results(EVENTS, asked)) as results:
            async for result in results:
                event = read(IncidentEvent, _in_words_of_rest(result["incidentEvents"]))
                asked["after"] = event.cursor
                if heard.first(event.event.incident_id, event.event.seq):
                    yield event

    async def results(self, query: str, asked: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The `data` of every result, over as many connections as it takes; each asks with what `asked` holds then.

        Raises: Refused for good, BadAnswer.
        """
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                async with self._connect() as socket:
                    await _let_in(socket, self.api_key)
                    async for data in _operation(socket, query, asked):
                        backoff.reset()
                        yield data
                broken: Exception = EOFError("the subscription was ended")
            except Exception as failure:
                broken, for_good = failure, _for_good(failure)
                if for_good is failure:
                    raise
                if for_good is not None:
                    raise for_good from failure
            if time.monotonic() - began > STEADY_SECS:
                backoff.reset()
            pause = backoff.next()
            log.warning("%s: %s; again in %.1f s", self.url, str(broken) or type(broken).__name__, pause)
            await asyncio.sleep(pause)

    def _connect(self) -> "connect":
        from websockets.asyncio.client import connect
        from websockets.typing import Subprotocol

        return connect(
            self.url, subprotocols=[Subprotocol("graphql-transport-ws")], open_timeout=OPEN_SECS, close_timeout=1,
            ping_interval=self.ping_secs, ping_timeout=self.ping_secs, max_size=MESSAGE_BYTES, max_queue=MESSAGES,
        )  # fmt: skip


async def _let_in(socket: "ClientConnection", api_key: str | None) -> None:
    """Says who asks, and waits until the server has heard. Raises: ConnectionClosed, TimeoutError, BadAnswer."""
    payload = {"authorization": f"Bearer {api_key}"} if api_key else {}
    await _say(socket, type="connection_init", payload=payload)
    async with asyncio.timeout(OPEN_SECS):
        while (await _next(socket))["type"] != "connection_ack":
            pass


def _in_words_of_rest(heard: dict[str, Any]) -> dict[str, Any]:
    """GraphQL writes the words of closed lists in capitals."""
    event = heard["event"]
    event["event_type"] = event["event_type"].lower()
    event["actor"]["type"] = event["actor"]["type"].lower()
    heard["incident"]["incident_type"] = heard["incident"]["incident_type"].capitalize()
    return heard


async def _operation(
    socket: "ClientConnection", query: str, variables: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The results of one operation, the only one on its connection. Raises: Refused, BadAnswer."""
    await _say(socket, id="1", type="subscribe", payload={"query": query, "variables": dict(variables)})
    while (message := await _next(socket))["type"] != "complete":
        if message["type"] == "error":
            raise refusal_of(message["payload"][0])
        if message["type"] == "next":
            said = message["payload"]
            errors = said.get("errors")
            if said.get("data") is None:
                raise refusal_of(errors[0]) if errors else BadAnswer("a result of the server's has no data")
            if errors:
                log.warning("a part of a result is missing: %s", errors[0].get("message"))
            yield said["data"]


async def _next(socket: "ClientConnection") -> dict[str, Any]:
    """The next message. A ping is answered. Raises: BadAnswer, ConnectionClosed."""
    text = await socket.recv()
    try:
        message = json.loads(text)
        if message["type"] == "ping":
            await _say(socket, type="pong")
    except (ValueError, TypeError, KeyError) as no:
        raise BadAnswer(f"not a message of graphql-transport-ws: {text[:100]!r}") from no
    found: dict[str, Any] = message
    return found


async def _say(socket: "ClientConnection", **message: object) -> None:
    await socket.send(encoded(message))


def _for_good(failure: Exception) -> Exception | None:
    """What is raised, where coming back would be of no use; None where it is."""
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

    match failure:
        case Refused():
            return None if failure.status >= 500 or failure.passing else failure
        case ConnectionClosed(rcvd=frame) if frame is not None and frame.code in FOR_GOOD:
            return refusal(FOR_GOOD[frame.code], frame.reason or f"the server closed with {frame.code}")
        case InvalidStatus(response=answer) if answer.status_code in (401, 403):
            return refusal(
                answer.reason_phrase.upper(), "the server lets nobody in from here", None, answer.status_code
            )
        case ConnectionClosed() | InvalidHandshake() | OSError():
            return None
    return failure


def in_camel_case(which: Mapping[str, Any]) -> dict[str, Any]:
    """A filter as GraphQL has it."""
    named = ((name.split("_"), value) for name, value in which.items())
    return {"".join([first, *map(str.title, rest)]): value for (first, *rest), value in named}
