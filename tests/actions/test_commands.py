"""Playbooks command the incident itself, in their own name."""

from dataclasses import replace
from functools import partial

import pytest
from pydantic import ValidationError

from app.actions.base import Action, Done, Failed, Situation
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.decode import decode
from app.domain.representation import IncidentView
from app.domain.requests import Ask
from app.domain.vocabulary import ActorType, Role, Status
from app.net.http import Http
from tests.support.acting import Desk, action, asked, at, incident, ran, tools
from tests.support.world import World


@pytest.fixture
def desk() -> Desk:
    return Desk()


def made(name: str, http: Http, desk: Desk) -> Action:
    return action(name, tools(http, desk=desk))


async def undone(one: Action, done: Done, desk: Desk, **parameters: object) -> Done:
    return await one.undo(asked(one, **parameters), done, at(desk.incident))


async def test_an_incident_is_given_to_somebody_and_back(http: Http, desk: Desk) -> None:
    desk.incident = incident(assigned_to="alice", assigned_team="chat")
    one, bob = made("assign", http, desk), {"assignee": "bob"}
    assert await one.check(asked(one, **bob), at(desk.incident)) == "assign the incident: assignee bob"
    assert desk.asked == {}
    done = await ran(one, at(desk.incident), **bob)
    assert (desk.incident.assigned_to, desk.incident.assigned_team) == ("bob", "chat")
    again = await ran(one, at(desk.incident), **bob)
    assert "already" in again.summary
    await undone(one, done, desk, **bob)
    assert (desk.incident.assigned_to, desk.incident.assigned_team) == ("alice", "chat")
    assert list(desk.asked) == ["run-1/notify", "run-1/notify/undo"]


async def test_whom_somebody_else_has_assigned_since_stays(http: Http, desk: Desk) -> None:
    one = made("assign", http, desk)
    done = await ran(one, at(), assignee="bob")
    desk.incident = desk.incident.model_copy(update={"assigned_to": "carol"})
    assert "left alone" in (await undone(one, done, desk, assignee="bob")).summary
    assert desk.incident.assigned_to == "carol"


async def test_nobody_is_no_assignee(http: Http, desk: Desk) -> None:
    with pytest.raises(ValidationError, match="assignee or team is needed"):
        asked(made("assign", http, desk))


async def test_a_note_is_added_once(http: Http, desk: Desk) -> None:
    one = made("add_note", http, desk)
    assert await one.check(asked(one, text="looked at it"), at()) == "comment: looked at it"
    assert desk.asked == {}
    desk.lost = 1
    with pytest.raises(Failed) as no:
        await ran(one, at(), text="looked at it")
    assert no.value.doubtful
    await ran(one, at(), text="looked at it")
    assert desk.asked == {"run-1/notify": ("comment", {"reason": "looked at it"})}
    assert not one.undoes


async def test_an_incident_is_resolved_by_the_playbook_and_reopened(http: Http, desk: Desk) -> None:
    one = made("incident_resolve", http, desk)
    assert await one.check(asked(one, notes="moved"), at()) == "resolve the incident, which is ACKNOWLEDGED"
    assert desk.asked == {}
    desk.lost = 1
    with pytest.raises(Failed):
        await ran(one, at(), notes="moved")
    done = await ran(one, at(desk.incident), notes="moved")
    assert desk.asked == {"run-1/notify": ("resolve", {
        "reason": "moved", "method": "playbook", "extra": {"playbook_used": "slow-chat"},
    })}  # fmt: skip
    await undone(one, done, desk)
    assert desk.incident.status is Status.NEW
    assert "left alone" in (await undone(one, done, desk)).summary


async def test_what_a_person_has_resolved_stays_resolved(http: Http, desk: Desk) -> None:
    one = made("incident_resolve", http, desk)
    desk.incident = incident(status="RESOLVED", resolution={"resolved_by": "alice"})
    done = await ran(one, at(desk.incident))
    await undone(one, done, desk)
    assert desk.asked == {}
    with pytest.raises(Failed, match="CLOSED cannot be resolved"):
        await one.check(asked(one), at(incident(status="CLOSED")))


@pytest.mark.parametrize(
    ("name", "before", "to", "after"),
    [
        ("severity_increase", "P2", None, "P1"),
        ("severity_increase", "P3", "P0", "P0"),
        ("severity_decrease", "P2", None, "P3"),
        ("severity_decrease", "P1", "P4", "P4"),
    ],
)
async def test_a_severity_changes_and_changes_back(
    http: Http, desk: Desk, name: str, before: str, to: str | None, after: str
) -> None:
    one = made(name, http, desk)
    desk.incident = incident(severity=before)
    assert await one.check(asked(one, to=to), at(desk.incident)) == f"severity from {before} to {after}"
    assert desk.asked == {}
    done = await ran(one, at(desk.incident), to=to)
    assert desk.incident.severity == after
    await undone(one, done, desk, to=to)
    assert desk.incident.severity == before


@pytest.mark.parametrize(
    ("name", "severity", "to"),
    [("severity_increase", "P0", None), ("severity_decrease", "P4", None), ("severity_increase", "P1", "P3"),
     ("severity_decrease", "P3", "P1")],
)  # fmt: skip
async def test_a_severity_that_is_further_already_is_left_alone(
    http: Http, desk: Desk, name: str, severity: str, to: str | None
) -> None:
    one = made(name, http, desk)
    desk.incident = incident(severity=severity)
    assert "nothing" in await one.check(asked(one, to=to), at(desk.incident))
    done = await ran(one, at(desk.incident), to=to)
    assert (await undone(one, done, desk, to=to)).summary == "nothing was changed"
    assert desk.asked == {}


async def test_a_step_whose_answer_was_lost_is_one_step_and_can_be_undone(http: Http, desk: Desk) -> None:
    one = made("severity_increase", http, desk)
    desk.lost = 1
    with pytest.raises(Failed):
        await ran(one, at(desk.incident))
    done = await ran(one, at(desk.incident))
    assert desk.incident.severity == "P1"
    assert done.output == {"from": "P2", "to": "P1"}
    await undone(one, done, desk)
    assert desk.incident.severity == "P2"


async def test_a_key_that_was_used_for_something_else_fails(http: Http, desk: Desk) -> None:
    used = replace(at(), key="run-9")
    await desk(used, "comment", reason="hello")
    with pytest.raises(Failed, match="used before"):
        await ran(made("severity_increase", http, desk), used)


async def commanded(world: World, where: Situation, kind: str, **said: object) -> IncidentView:
    """By the real services: as a playbook's key and name have it."""
    who = Principal(name=where.actor, role=Role.RESPONDER, actor_type=ActorType.SYSTEM)
    ask = decode(Ask, {**said, "kind": kind, "key": where.key})
    return await world.gateway.incidents.ask(who, where.incident.id, ask)


async def test_an_incidents_workflow_does_what_playbooks_ask_once_and_takes_it_back(http: Http, world: World) -> None:
    story = await world.opens(["alice"])
    equipped = replace(tools(http), command=partial(commanded, world))

    async def situation(key: str) -> Situation:
        return at(await world.gateway.incidents.get(ME, story.id), key=f"{story.id}/{key}")

    steps: list[tuple[str, dict[str, object]]] = [
        ("severity_increase", {"reason": "it spreads"}), ("assign", {"assignee": "bob", "team": "chat"}),
        ("add_note", {"text": "moved to the second provider"}),
        ("incident_resolve", {"notes": "moved", "root_cause": "the provider was down"}),
    ]  # fmt: skip
    kept = []
    for name, parameters in steps:
        one, where = action(name, equipped), await situation(name)
        kept.append((name, one, parameters, await ran(one, where, **parameters)))
        await ran(one, where, **parameters)
    view = (await situation("")).incident
    assert (view.severity, view.assigned_to, view.assigned_team, view.status) == ("P1", "bob", "chat", "RESOLVED")
    assert view.resolution is not None
    assert (view.resolution.root_cause, view.resolution.playbook_used) == ("the provider was down", "slow-chat")
    assert (view.resolution.resolution_notes, view.resolution.method) == ("moved", "playbook")
    for name, one, parameters, done in reversed(kept):
        if one.undoes:
            await one.undo(asked(one, **parameters), done, await situation(name))
    view = (await situation("")).incident
    assert (view.severity, view.assigned_to, view.assigned_team, view.status.open) == ("P2", None, None, True)
    said = [(entry.event_type, entry.actor.name) for entry in await story.timeline() if entry.actor.name != "system"]
    ours = [event for event, who in said if who == "playbook:slow-chat"]
    assert ours == [
        "severity_changed",
        "assigned",
        "comment_added",
        "resolved",
        "reopened",
        "assigned",
        "severity_changed",
    ]
