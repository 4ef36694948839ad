"""Incidents over gRPC, in both packages: real clients, a gateway and a worker in their own processes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from app.api.grpc.pb import incidents_pb2 as pb
from app.api.grpc.pb.incident_manager.v1 import incident_service_pb2 as v1
from app.api.http import create_app
from tests.api.conftest import Service
from tests.support.databases import another_database
from tests.support.grpc import Client, client, house, refused


@pytest.fixture(scope="module")
async def caller(service: Service) -> AsyncIterator[Client]:
    async with client(service.grpc) as made:
        yield made


def a_title() -> str:
    return f"answers are slow {uuid4()}"


async def opened(caller: Client, **what: Any) -> pb.Incident:
    request = pb.CreateIncidentRequest(**{"title": a_title(), "severity": "P2"} | what)
    return (await caller.incidents.CreateIncident(request)).incident


async def test_an_incident_keeps_all_that_it_was_made_of(caller: Client, service: Service) -> None:
    request = pb.CreateIncidentRequest(
        title=a_title(), description="p99 is 12 s", severity="critical", source="edge", metadata={"region": "eu"},
        tags=["urgent", "team=chat"], assigned_to="ada",
    )  # fmt: skip
    answer = await caller.incidents.CreateIncident(request)
    made = answer.incident
    assert answer.message == "A new incident was opened."
    assert (made.title, made.description, made.severity, made.source) == (request.title, "p99 is 12 s", "P0", "edge")
    assert (made.status, made.incident_state, made.assigned_to) == ("NEW", pb.INCIDENT_STATE_OPEN, "ada")
    assert dict(made.metadata) == {"region": "eu", "urgent": "", "team": "chat"}
    assert list(made.tags) == ["region=eu", "team=chat", "urgent"]
    again = await caller.incidents.CreateIncident(request)
    assert (again.incident.id, again.message) == (made.id, "Merged into an open incident.")


async def test_whom_it_is_given_to_when_it_opens_still_has_it_once_its_workflow_runs(caller: Client) -> None:
    made = await opened(caller, assigned_to="ada")
    noted = await caller.incidents.AddNote(pb.AddNoteRequest(incident_id=made.id, note="seen"))
    assert noted.incident.assigned_to == "ada"


async def test_the_same_question_is_answered_alike_by_rest_and_both_packages(database_url: str) -> None:
    """While nobody works on the incident, which would change under the questions."""
    async with another_database(database_url) as url, house(url) as made, client(made.address) as caller:
        opening = pb.CreateIncidentRequest(title=a_title(), description="why", source="edge", metadata={"team": "chat"})
        incident_id = (await caller.incidents.CreateIncident(opening)).incident.id
        transport = httpx.ASGITransport(create_app(made.gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
            rest = (await web.get(f"/api/v1/incidents/{incident_id}")).json()
        old = (await caller.incidents.GetIncident(pb.GetIncidentRequest(incident_id=incident_id))).incident
        new = await caller.v1.GetIncident(v1.GetIncidentRequest(incident_id=incident_id))
    for shown in (old, new):
        said = MessageToDict(shown, preserving_proto_field_name=True)
        for name in ("id", "title", "description", "severity", "status", "source", "fingerprint"):
            assert said[name] == rest[name]
        assert said["metadata"] == rest["tags"]
        for name in ("created_at", "updated_at"):
            assert getattr(shown, name).ToDatetime(UTC) == datetime.fromisoformat(rest[name])
    for name in ("category", "alert_count", "escalation_level", "suppressed"):
        assert getattr(new, name) == rest[name]


async def test_both_packages_are_one_on_the_wire(caller: Client) -> None:
    """A client of the one can read what was meant for the other."""
    request = v1.CreateIncidentRequest(title=a_title(), severity="P1", metadata={"a": "b"}, environment="production")
    answer = await caller.v1.CreateIncident(request)
    assert answer.incident.environment == "production"
    read = pb.IncidentResponse.FromString(answer.SerializeToString())
    same = (await caller.incidents.GetIncident(pb.GetIncidentRequest(incident_id=read.incident.id))).incident
    assert (read.incident.title, read.incident.metadata, read.message) == (same.title, same.metadata, answer.message)
    assert pb.CreateIncidentRequest.FromString(request.SerializeToString()).title == request.title


async def test_a_life_from_the_note_to_the_resolve(caller: Client) -> None:
    made = await opened(caller)
    update = pb.UpdateIncidentRequest(
        incident_id=made.id, title="renamed", severity="P1", status="Investigating", assigned_to="bob",
        metadata={"team": "chat"},
    )  # fmt: skip
    working = (await caller.incidents.UpdateIncident(update)).incident
    assert (working.title, working.severity, working.status, working.assigned_to) == (
        "renamed", "P1", "IN_PROGRESS", "bob",
    )  # fmt: skip
    assert working.incident_state == pb.INCIDENT_STATE_INVESTIGATING
    assert dict(working.metadata) == {"team": "chat"}
    noted = await caller.incidents.AddNote(pb.AddNoteRequest(incident_id=made.id, note="it is the cache", author="bob"))
    assert [(note.content, note.author) for note in noted.incident.notes] == [("it is the cache", "bob")]
    over = (
        await caller.incidents.ResolveIncident(
            pb.ResolveIncidentRequest(incident_id=made.id, resolution_note="restarted", resolved_by="bob")
        )
    ).incident
    assert (over.status, over.incident_state) == ("RESOLVED", pb.INCIDENT_STATE_RESOLVED)
    assert (over.resolution.summary, over.resolution.resolved_by) == ("restarted", "bob")
    assert over.resolution.resolved_at == over.resolved_at
    kinds = [event.event_type for event in over.timeline]
    assert kinds[-1] == pb.EVENT_TYPE_RESOLVED
    assert {pb.EVENT_TYPE_CREATED, pb.EVENT_TYPE_ASSIGNMENT_CHANGED, pb.EVENT_TYPE_COMMENT_ADDED} <= set(kinds)
    assert over.timeline[-1].metadata["event_type"] == "resolved"


async def test_v1_changes_the_team_and_an_empty_name_takes_it_away(caller: Client) -> None:
    made = await opened(caller)
    given = await caller.v1.UpdateIncident(
        v1.UpdateIncidentRequest(incident_id=made.id, assigned_team="chat", assigned_to="ada", note="theirs")
    )
    assert (given.assigned_team, given.assigned_to) == ("chat", "ada")
    taken = await caller.v1.UpdateIncident(v1.UpdateIncidentRequest(incident_id=made.id, assigned_to=""))
    assert (taken.assigned_team, taken.assigned_to) == ("chat", "")


async def test_asking_twice_with_one_key_is_asking_once(caller: Client) -> None:
    made = await opened(caller)
    note = pb.AddNoteRequest(incident_id=made.id, note="once")
    key = (("idempotency-key", "note-1"),)
    await caller.incidents.AddNote(note, metadata=key)
    again = await caller.incidents.AddNote(note, metadata=key)
    assert [each.content for each in again.incident.notes] == ["once"]
    other = pb.AddNoteRequest(incident_id=made.id, note="something else")
    no = await refused(caller.incidents.AddNote(other, metadata=key))
    assert (no.status, no.code) == (grpc.StatusCode.ABORTED, "CONFLICT")


async def test_what_cannot_become_of_an_incident_is_a_failed_precondition(caller: Client) -> None:
    made = await opened(caller)
    for status in ("resolved", "Closed"):
        await caller.incidents.UpdateIncident(pb.UpdateIncidentRequest(incident_id=made.id, status=status))
    no = await refused(
        caller.incidents.UpdateIncident(pb.UpdateIncidentRequest(incident_id=made.id, status="ACKNOWLEDGED"))
    )
    assert (no.status, no.code) == (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_STATE_TRANSITION")
    assert "CLOSED" in no.message


async def test_lists_are_filtered_sorted_and_paged(caller: Client) -> None:
    name = uuid4().hex
    made = [await opened(caller, severity=severity, assigned_to=name) for severity in ("P3", "P1", "P2")]
    by_age = await caller.incidents.ListIncidents(pb.ListIncidentsRequest(assigned_to=name))
    assert [each.id for each in by_age.incidents] == [each.id for each in reversed(made)]
    assert (by_age.total_count, by_age.page, by_age.page_size) == (3, 1, 50)
    worst = await caller.incidents.ListIncidents(
        pb.ListIncidentsRequest(assigned_to=name, sort_by="severity", page=2, page_size=1)
    )
    assert [each.severity for each in worst.incidents] == ["P2"]
    urgent = await caller.incidents.ListIncidents(pb.ListIncidentsRequest(assigned_to=name, severity="high"))
    assert [each.id for each in urgent.incidents] == [made[1].id]


@pytest.mark.parametrize(("method", "request_", "field", "allowed"), [
    ("CreateIncident", pb.CreateIncidentRequest(severity="P2"), "title", "is required"),
    ("CreateIncident", pb.CreateIncidentRequest(title="x", severity="huge"), "severity", "'P0', 'P1'"),
    ("CreateIncident", pb.CreateIncidentRequest(title="x", metadata={"": "y"}), "metadata", "at least 1 char"),
    ("CreateIncident", pb.CreateIncidentRequest(title="nul \0"), "title", "NUL"),
    ("UpdateIncident", pb.UpdateIncidentRequest(incident_id=str(uuid4()), status="Done"), "status", "'IN_PROGRESS'"),
    ("UpdateIncident", pb.UpdateIncidentRequest(status="NEW"), "incident_id", "is required"),
    ("ListIncidents", pb.ListIncidentsRequest(status="gone"), "status", "'NEW', 'ACKNOWLEDGED'"),
    ("ListIncidents", pb.ListIncidentsRequest(page_size=101), "page_size", "less than or equal to 100"),
    ("ListIncidents", pb.ListIncidentsRequest(sort_by="mood"), "sort_by", "'created_at'"),
    ("AddNote", pb.AddNoteRequest(incident_id=str(uuid4())), "note", "is required"),
])  # fmt: skip
async def test_a_bad_request_names_the_field_and_what_is_allowed(
    caller: Client, method: str, request_: Any, field: str, allowed: str
) -> None:
    no = await refused(getattr(caller.incidents, method)(request_))
    assert (no.status, no.code) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_ERROR")
    [(named, said)] = no.fields.items()
    assert named.startswith(field)
    assert allowed in said


async def test_nobody_knows_an_incident_that_is_not_there(caller: Client) -> None:
    for id_ in (str(uuid4()), "7"):
        no = await refused(caller.v1.GetIncident(v1.GetIncidentRequest(incident_id=id_)))
        assert (no.status, no.code) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_an_analysis_says_who_belongs_together_and_why(caller: Client, service: Service) -> None:
    made = [await opened(caller) for _ in range(2)]
    alone = await caller.v1.AnalyzeCorrelations(v1.AnalyzeCorrelationsRequest(incident_id=made[0].id))
    assert 0 < alone.threshold < 1
    body = {"incident_ids": [each.id for each in made], "reason": "both are the gateway"}
    grouped = await service.http.post("/api/v1/correlations/manual", json=body)
    assert grouped.status_code in (201, 409), grouped.text
    found = await caller.v1.AnalyzeCorrelations(v1.AnalyzeCorrelationsRequest(incident_id=made[1].id))
    rest = (await service.http.get(f"/api/v1/incidents/{made[1].id}/correlation")).json()
    assert (found.group.id, found.group.size) == (rest["group"]["id"], rest["group"]["size"])
    assert {each.incident_id: each.score for each in found.correlations} == {
        edge["target"] if edge["source"] == made[1].id else edge["source"]: edge["score"] for edge in rest["edges"]
    }
    assert all(reason.description for each in found.correlations for reason in each.reasons)


async def test_a_stream_begins_with_what_is_open_and_goes_on_with_what_is_decided(caller: Client) -> None:
    before, other = await opened(caller, severity="P4"), await opened(caller, severity="P3")
    stream = caller.incidents.StreamIncidents(pb.StreamIncidentsRequest(severities=["info"]))
    async with asyncio.timeout(20):
        updates = aiter(stream)
        shown = await anext(updates)
        while shown.incident_id != before.id:
            assert (shown.update_type, shown.incident.severity) == ("snapshot", "P4")
            shown = await anext(updates)
        for each in (other, before):
            await caller.incidents.ResolveIncident(pb.ResolveIncidentRequest(incident_id=each.id))
        heard = [shown]
        while heard[-1].incident.status != "RESOLVED":
            update = await anext(updates)
            assert update.incident.severity == "P4"
            heard += [update] if update.incident_id == before.id else []
    stream.cancel()
    assert [update.update_type for update in heard].count("snapshot") == 1
    assert heard[-1].update_type == "resolved"
    assert len({(update.update_type, update.timestamp.ToNanoseconds()) for update in heard}) == len(heard)


async def test_nothing_is_missed_or_told_twice_while_a_stream_begins(caller: Client, service: Service) -> None:
    """Incidents are opened all the time while listeners come: each hears of each, once as new."""
    source = uuid4().hex
    made: list[str] = []

    async def listen() -> list[str]:
        seen: list[tuple[str, str, int]] = []
        async with asyncio.timeout(30):
            async for update in caller.incidents.StreamIncidents(pb.StreamIncidentsRequest(severities=["P3"])):
                if update.incident.source == source:
                    seen.append((update.incident_id, update.update_type, update.timestamp.ToNanoseconds()))
                    if len({id_ for id_, _, _ in seen}) == 24:
                        break
        assert len(set(seen)) == len(seen)
        return [id_ for id_, _, _ in seen]

    listening = []
    for _ in range(24):
        listening += [asyncio.create_task(listen())] if len(made) % 6 == 0 else []
        made.append((await opened(caller, severity="P3", source=source)).id)
    for heard in await asyncio.gather(*listening):
        assert set(heard) == set(made)


async def test_v1_streams_incidents(caller: Client) -> None:
    made = await opened(caller, severity="P4")
    stream = caller.v1.StreamIncidents(v1.StreamIncidentsRequest(statuses=["OPEN", "ACKNOWLEDGED"], severities=["P4"]))
    async with asyncio.timeout(20):
        incidents = aiter(stream)
        while (shown := await anext(incidents)).id != made.id:
            assert shown.status in ("NEW", "ACKNOWLEDGED")
        await caller.incidents.UpdateIncident(pb.UpdateIncidentRequest(incident_id=made.id, status="Acknowledged"))
        while (shown := await anext(incidents)).id != made.id or shown.status != "ACKNOWLEDGED":
            pass
    assert shown.HasField("acknowledged_at")
    stream.cancel()


async def test_a_stream_with_a_bad_filter_is_refused(caller: Client) -> None:
    no = await refused(caller.incidents.StreamIncidents(pb.StreamIncidentsRequest(statuses=["OPEN", "shut"])))
    assert no.status is grpc.StatusCode.INVALID_ARGUMENT
    assert list(no.fields) == ["statuses[1]"]
