"""The client. Every method is one request unless it says otherwise, and raises IncidentManagerError's kinds."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

import httpx

from llm_incident_manager_client import live
from llm_incident_manager_client.inputs import (
    Assumption,
    Change,
    EventFilter,
    Filter,
    LiveFilter,
    Moment,
    NewAlert,
    NewEvent,
    NewIncident,
)
from llm_incident_manager_client.models import (
    Alert,
    Document,
    Event,
    EventPage,
    Health,
    Incident,
    IncidentEvent,
    Linted,
    LogLine,
    Notification,
    Page,
    Reported,
    Run,
    Simulated,
    Taken,
    TimelineEvent,
    read,
)
from llm_incident_manager_client.rest import CREATED, HEALTHY_OR_NOT, Reply, Rest, address, encoded, key_header

BATCH, BATCH_BYTES = 1000, 4_000_000
"""How much the server takes at once, the bytes with room to spare."""
API = ("api", "v1")


class IncidentManagerClient:
    """The LLM Incident Manager from afar; `async with` closes its connections.

    `endpoint` is the server's base address, `api_key` an API key or a JWT. A try takes `timeout_secs` at most. Requests
    that were not answered, or with 429, 502, 503 or 504, are tried again; no try begins later than `retry_for_secs`
    after the first. Writes carry an Idempotency-Key, so that trying again is doing once.

    Subscriptions are heard until the iterator is closed: they come back by themselves, whatever breaks, for as long as
    the key is good. A server that doesn't answer a ping within `ping_secs` of one is given up; there is one every
    `ping_secs`.
    """

    def __init__(
        self,
        endpoint: str = "http://localhost:8080",
        *,
        api_key: str | None = None,
        timeout_secs: float = 35,
        retry_for_secs: float = 60,
        ping_secs: float = 5,
    ) -> None:
        headers = {"Accept": "application/json", **key_header(api_key)}
        base = address(endpoint)
        # Reading the authorities that TLS trusts takes longer than a request: where there is no TLS, it is left out.
        self._http = httpx.AsyncClient(timeout=timeout_secs, headers=headers, verify=base.startswith("https://"))
        self._rest = Rest(base, self._http, retry_for_secs)
        self._live = live.Listener(base, api_key, ping_secs)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def request(
        self, method: str, *path: str, query: Mapping[str, Any] | None = None, body: object = None
    ) -> Any:
        """The answer's JSON to any request of the REST API: `request("GET", "api", "v1", "ml", "stats")`."""
        return (await self._rest.ask(method, *path, query=query, body=body)).body

    # What is sent

    async def submit_alert(self, *, idempotency_key: str | None = None, **alert: Unpack[NewAlert]) -> Taken:
        """One alert, durable when this returns. With a key of your own, sending it again later is harmless, too."""
        return read(Taken, (await self._rest.ask("POST", *API, "alerts", body=alert, key=idempotency_key)).body)

    async def submit_alerts(self, alerts: Iterable[NewAlert]) -> tuple[Taken, ...]:
        """Any number of alerts, in as many requests as they need; what became of each, in their order.

        A bad alert holds back none of the others: its `status` is Rejected.
        """
        taken: list[Taken] = []
        for batch in _batches(alerts):
            answer = await self._rest.ask("POST", *API, "alerts", "batch", body={"alerts": batch})
            taken += [read(Taken, one) for one in answer.body["results"]]
        return tuple(taken)

    async def create_incident(self, *, idempotency_key: str | None = None, **incident: Unpack[NewIncident]) -> Reported:
        """An incident that somebody reports; of one that is known already, that one."""
        return _reported(await self._rest.ask("POST", *API, "incidents", body=incident, key=idempotency_key))

    async def submit_event(self, *, idempotency_key: str | None = None, **event: Unpack[NewEvent]) -> Taken:
        """One event, kept whole."""
        answer = await self._rest.ask("POST", *API, "events", body=event, key=idempotency_key)
        return read(Taken, answer.body)

    # What is there

    async def get(self, incident_id: str) -> Incident:
        return read(Incident, await self.request("GET", *API, "incidents", incident_id))

    async def list(self, *, page: int | None = None, cursor: str | None = None, **which: Unpack[Filter]) -> Page:
        """A page of incidents, the newest first unless said otherwise. `cursor` goes before `page`, which is from 1."""
        query = {**which, "page": page, "cursor": cursor}
        return read(Page, await self.request("GET", *API, "incidents", query=query))

    async def iterate(self, **which: Unpack[Filter]) -> AsyncGenerator[Incident, None]:
        """Every incident that is meant, by the page: none twice and none left out while others open."""
        cursor: str | None = None
        while True:
            page = await self.list(cursor=cursor, **which)
            for incident in page.incidents:
                yield incident
            cursor = page.next_cursor
            if cursor is None:
                return

    async def timeline(self, incident_id: str) -> tuple[TimelineEvent, ...]:
        """Every decision, in order."""
        return _each(TimelineEvent, await self.request("GET", *API, "incidents", incident_id, "timeline"))

    async def comments(self, incident_id: str) -> tuple[TimelineEvent, ...]:
        """The text of each is its `reason`."""
        return _each(TimelineEvent, await self.request("GET", *API, "incidents", incident_id, "comments"))

    async def notifications(self, incident_id: str) -> tuple[Notification, ...]:
        """Every message, whom it went to, and how it fared."""
        return _each(Notification, await self.request("GET", *API, "incidents", incident_id, "notifications"))

    async def alerts_of(self, incident_id: str, *, page: int = 1, page_size: int = 50) -> tuple[Alert, ...]:
        """The incident's alerts, newest first."""
        query = {"page": page, "page_size": page_size}
        return _each(
            Alert, (await self.request("GET", *API, "incidents", incident_id, "alerts", query=query))["alerts"]
        )

    async def list_events(self, *, cursor: str | None = None, **which: Unpack[EventFilter]) -> EventPage:
        """What sources said, the newest first."""
        return read(EventPage, await self.request("GET", *API, "events", query={**which, "cursor": cursor}))

    async def get_event(self, event_id: str) -> Event:
        """By the server's id or by the source's own."""
        return read(Event, await self.request("GET", *API, "events", event_id))

    # What is done to an incident

    async def acknowledge(self, incident_id: str, *, actor: str | None = None, notes: str | None = None) -> Incident:
        """Take it: nobody else is paged for it. Doing it twice is harmless."""
        return await self._command(incident_id, "acknowledge", actor=actor, notes=notes)

    async def resolve(
        self,
        incident_id: str,
        *,
        actor: str | None = None,
        notes: str | None = None,
        root_cause: str | None = None,
        method: str | None = None,
    ) -> Incident:
        return await self._command(
            incident_id, "resolve", actor=actor, notes=notes, root_cause=root_cause, method=method
        )

    async def close(
        self,
        incident_id: str,
        *,
        actor: str | None = None,
        notes: str | None = None,
        post_mortem_url: str | None = None,
    ) -> Incident:
        return await self._command(incident_id, "close", actor=actor, notes=notes, post_mortem_url=post_mortem_url)

    async def reopen(self, incident_id: str, *, actor: str | None = None, reason: str | None = None) -> Incident:
        return await self._command(incident_id, "reopen", actor=actor, reason=reason)

    async def escalate(
        self, incident_id: str, *, level: int | None = None, actor: str | None = None, reason: str | None = None
    ) -> Incident:
        """Page `level` now, the next one when left out."""
        return await self._command(incident_id, "escalate", level=level, actor=actor, reason=reason)

    async def assign(
        self,
        incident_id: str,
        *,
        user: str | None = None,
        team: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Incident:
        """What is left out stays as it is; `update(..., assigned_to=None)` takes it away."""
        return await self._command(
            incident_id, "assign", assigned_to=user, assigned_team=team, actor=actor, reason=reason
        )

    async def comment(self, incident_id: str, content: str, *, actor: str | None = None) -> TimelineEvent:
        """The comment, as it stands on the timeline."""
        body = _given(content=content, actor=actor)
        answer = await self._rest.ask("POST", *API, "incidents", incident_id, "comments", body=body)
        return read(TimelineEvent, answer.body)

    async def update(self, incident_id: str, **change: Unpack[Change]) -> Incident:
        """Change fields in place."""
        return read(Incident, await self.request("PATCH", *API, "incidents", incident_id, body=change))

    async def pause(self, incident_id: str, *, actor: str | None = None, reason: str | None = None) -> Incident:
        """Freeze the escalation; what remains of the wait is kept."""
        return await self._command(incident_id, "pause", actor=actor, reason=reason)

    async def resume(self, incident_id: str, *, actor: str | None = None, reason: str | None = None) -> Incident:
        return await self._command(incident_id, "resume", actor=actor, reason=reason)

    async def snooze(
        self,
        incident_id: str,
        *,
        minutes: int | None = None,
        until: Moment | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Incident:
        """Pause until a moment, or for so long; one of the two."""
        return await self._command(incident_id, "snooze", minutes=minutes, until=until, actor=actor, reason=reason)

    async def _command(self, incident_id: str, name: str, **said: object) -> Incident:
        return read(Incident, await self.request("POST", *API, "incidents", incident_id, name, body=_given(**said)))

    # The server, its policies, its documents

    async def health(self) -> Health:
        """How the server is; it is not tried again when it is unwell."""
        return read(Health, (await self._rest.ask("GET", "health", answers=HEALTHY_OR_NOT)).body)

    async def lint(self, *, reach: bool = False) -> Linted:
        """What would go wrong on a night to come. `reach` also tries to connect to every webhook."""
        return read(Linted, await self.request("GET", *API, "oncall", "lint", query={"reach": reach}))

    async def simulate(
        self,
        policy_id: str,
        *,
        severity: str = "P2",
        at: Moment | None = None,
        incident: Mapping[str, Any] | None = None,
        assume: Sequence[Assumption] = (),
    ) -> Simulated:
        """Who would be told what, when and through what. Nobody is told anything."""
        body = _given(severity=severity, at=at, incident=incident, assume=assume)
        return read(
            Simulated, await self.request("POST", *API, "escalation-policies", policy_id, "simulate", body=body)
        )

    async def teach(self, labels: Sequence[Mapping[str, Any]]) -> int:
        """Give the model severities that the team trusts, 1,000 at a time; how many were taken."""
        return int((await self.request("POST", *API, "ml", "labels", body={"labels": labels}))["labels"])

    async def retrain(self) -> Mapping[str, Any]:
        """Start a training; while one runs it is joined."""
        training: Mapping[str, Any] = await self.request("POST", *API, "ml", "retrain", body={})
        return training

    async def documents(self, kind: str) -> tuple[Document, ...]:
        """Configuration of a kind: services, users, teams, schedules, escalation-policies, routing-rules, …"""
        return _each(Document, await self.request("GET", *API, kind))

    async def document(self, kind: str, id: str) -> Document:  # noqa: A002
        return read(Document, await self.request("GET", *API, kind, id))

    async def document_versions(self, kind: str, id: str) -> tuple[Document, ...]:  # noqa: A002
        """The oldest first."""
        return _each(Document, await self.request("GET", *API, kind, id, "versions"))

    async def put_document(
        self, kind: str, id: str, body: Mapping[str, Any], *, version: int | None = None  # noqa: A002
    ) -> Document:  # fmt: skip
        """Create or replace. With `version` only that one is replaced, with 0 only created; otherwise Conflict."""
        condition = {} if version is None else {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        answer = await self._rest.ask("PUT", *API, kind, id, body=body, headers=condition, repeatable=version is None)
        return read(Document, answer.body)

    async def delete_document(self, kind: str, id: str) -> None:  # noqa: A002
        """Raises: NotFound; Conflict while something refers to it."""
        await self._rest.ask("DELETE", *API, kind, id, repeatable=False)

    # Playbooks: written and read they are documents of the kind "playbooks"

    async def validate_playbook(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The playbook in full. Nothing is kept. Raises: Invalid with the path of every error."""
        found: Mapping[str, Any] = await self.request("POST", *API, "playbooks", "validate", body=body)
        return found

    async def execute_playbook(self, playbook_id: str, incident_id: str, *, dry_run: bool = False) -> Run:
        """Begin a run. Raises: Conflict while one of the playbook is under way on the incident."""
        body = {"incident_id": incident_id, "dry_run": dry_run}
        return await self._run("playbooks", playbook_id, "execute", **body)

    async def playbook_run(self, run_id: str) -> Run:
        return read(Run, await self.request("GET", *API, "playbook-runs", run_id))

    async def playbook_runs(
        self,
        *,
        incident_id: str | None = None,
        playbook_id: str | None = None,
        status: Sequence[str] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[Run, ...]:
        """The newest first, 100 at most; `cursor` is the last one's id. Their steps have no outputs."""
        query = {
            "incident_id": incident_id, "playbook_id": playbook_id, "status": list(status), "limit": limit,
            "cursor": cursor,
        }  # fmt: skip
        return _each(Run, (await self.request("GET", *API, "playbook-runs", query=query))["runs"])

    async def playbook_log(self, run_id: str, *, after: int = 0) -> tuple[LogLine, ...]:
        """What a run's steps said after the line `after`, 500 lines at most."""
        return _each(
            LogLine, (await self.request("GET", *API, "playbook-runs", run_id, "log", query={"after": after}))["lines"]
        )

    async def approve_run(self, run_id: str, *, comment: str = "") -> Run:
        """Agree to what a run waits for. Raises: Forbidden, Conflict when it waits for nobody's word."""
        return await self._run("playbook-runs", run_id, "approve", comment=comment)

    async def reject_run(self, run_id: str, *, comment: str = "") -> Run:
        return await self._run("playbook-runs", run_id, "reject", comment=comment)

    async def cancel_run(self, run_id: str, *, undo: bool = False) -> Run:
        """End a run; `undo` also takes back what was done. One that is over stays as it is."""
        return await self._run("playbook-runs", run_id, "cancel", undo=undo)

    async def retry_run(self, run_id: str, *, from_step: str | None = None) -> Run:
        """A new run from a step on, the first one that failed when left out, with what those before it gave."""
        return await self._run("playbook-runs", run_id, "retry", **_given(from_step=from_step))

    async def _run(self, *path: str, **said: object) -> Run:
        return read(Run, (await self._rest.ask("POST", *API, *path, body=said, repeatable=False)).body)

    # What happens, as it happens

    async def cursor(self) -> str:
        """Where the events are now. List, then hear `events(after=cursor)`: nothing falls between the two."""
        async with aclosing(self._live.results(live.CURSOR, {})) as results:
            return str((await anext(results))["eventsCursor"])

    async def events(
        self, *, after: str | None = None, **which: Unpack[LiveFilter]
    ) -> AsyncGenerator[IncidentEvent, None]:
        """Every decision about incidents from now on, or from the cursor `after` on: each once, an incident's in order,
        whatever breaks meanwhile.
        """
        begin = after or await self.cursor()
        async with aclosing(self._live.events(begin, live.in_camel_case(which))) as events:
            async for event in events:
                yield event

    async def critical_incidents(self, *, after: str | None = None) -> AsyncGenerator[Incident, None]:
        """P0 and P1: whenever one opens, opens again, or becomes so."""
        async with aclosing(self.events(after=after)) as events:
            async for event in events:
                if event.becomes_critical:
                    yield event.incident

    async def new_incidents(
        self, *, severities: Sequence[str] = (), after: str | None = None
    ) -> AsyncGenerator[Incident, None]:
        async with aclosing(self.events(after=after)) as events:
            async for event in events:
                if event.update_type == "CREATED" and (not severities or event.incident.severity in severities):
                    yield event.incident

    async def incident_updates(
        self,
        *,
        incident_ids: Sequence[str] = (),
        severities: Sequence[str] = (),
        active_only: bool = False,
        after: str | None = None,
    ) -> AsyncGenerator[IncidentEvent, None]:
        """`active_only`: of open incidents, and what ends them."""
        async with aclosing(self.events(after=after)) as events:
            async for event in events:
                if (
                    (not incident_ids or event.incident.id in incident_ids)
                    and (not severities or event.incident.severity in severities)
                    and (not active_only or event.incident.open or event.update_type in ("RESOLVED", "CLOSED"))
                ):
                    yield event

    async def state_changes(
        self, *, incident_id: str | None = None, after: str | None = None
    ) -> AsyncGenerator[IncidentEvent, None]:
        """`previous_status` and `new_status` say what changed."""
        async with aclosing(self.events(after=after)) as events:
            async for event in events:
                if event.new_status is not None and incident_id in (None, event.incident.id):
                    yield event

    async def alerts(self, *, sources: Sequence[str] = ()) -> AsyncGenerator[Event, None]:
        """Every alert that is accepted while this listens, duplicates too.

        Alerts have no cursor: those that come during a break are not heard; `list_events` has them.
        """
        async with aclosing(self._live.results(live.ALERTS, {"sources": list(sources) or None})) as results:
            async for result in results:
                yield read(Event, result["alerts"])

    async def subscribe(
        self, query: str, variables: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The `data` of any subscription of the GraphQL schema.

        It comes back after a break; what was said meanwhile is not heard.
        """
        async with aclosing(self._live.results(query, dict(variables or {}))) as results:
            async for result in results:
                yield result


def _given(**said: object) -> dict[str, object]:
    return {name: value for name, value in said.items() if value is not None}


def _each(shape: type[Any], found: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(read(shape, one) for one in found)


def _reported(answer: Reply) -> Reported:
    """A new incident is answered with the incident itself, one that is known with the incident under `incident`."""
    said = answer.body
    incident = said.get("incident") or (said if "title" in said else None)
    return Reported(
        raw=said, created=answer.status == CREATED, incident_id=said["incident_id"], outcome=said["outcome"],
        message=said["message"], incident=incident and read(Incident, incident),
    )  # fmt: skip


def _batches(alerts: Iterable[NewAlert]) -> Iterator[list[dict[str, Any]]]:
    """As the server takes them, each alert with a delivery of its own: sending a batch again is sending it once."""
    batch: list[dict[str, Any]] = []
    size = 0
    for alert in alerts:
        named: dict[str, Any] = {"delivery_id": uuid4().hex, **alert}
        length = len(encoded(named))
        if batch and (len(batch) == BATCH or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(named)
        size += length
    if batch:
        yield batch
