"""Playbooks by GraphQL: written, begun, decided about, and watched over a socket."""

import asyncio
from uuid import uuid4

import pytest

from tests.api.conftest import Service
from tests.api.test_graphql import data, refused
from tests.api.test_sockets import address, begun, ear
from tests.support.playing import waits

ASK = {"id": "ask", "type": "approval", "approval": {"approvers": [{"type": "user", "id": "reviewer"}]}}
QUICK = {"id": "quick", "type": "wait", "seconds": "10ms"}
RUN = "id status playbookId incidentId triggeredBy { name type } completedAt stepsExecuted { stepId status attempts }"
WATCH = f"subscription($p: ID) {{ playbookExecutionUpdated(playbookId: $p) {{ {RUN} incident {{ title }} }} }}"


@pytest.fixture
async def playbook(service: Service) -> str:
    """Its runs wait for somebody's word."""
    await service.http.put("/api/v1/users/reviewer", json={"name": "Reviewer"})
    name = f"p-{uuid4()}"
    body = {"name": "Ask first", "steps": [ASK, QUICK], "execution": {"four_eyes": False}}
    put = "mutation($id: ID!, $body: JSON!) { upsertPlaybook(id: $id, input: $body) { id version steps } }"
    kept = (await data(service.http, put, id=name, body=body))["upsertPlaybook"]
    assert (kept["id"], kept["version"], kept["steps"][0]["id"]) == (name, 1, "ask")
    return name


async def executed(service: Service, playbook: str, incident: str) -> str:
    begin = f"mutation($i: ID!, $p: ID!) {{ executePlaybook(incidentId: $i, playbookId: $p) {{ {RUN} }} }}"
    run = (await data(service.http, begin, i=incident, p=playbook))["executePlaybook"]
    assert (run["playbookId"], run["triggeredBy"]) == (playbook, {"name": "local", "type": "USER"})
    return str(run["id"])


async def test_a_run_is_watched_over_a_socket_from_its_begin_to_its_end(service: Service, playbook: str) -> None:
    incident = await service.incident()
    async with ear(address(service)) as socket:
        await begun(service, socket, WATCH, p=playbook)
        run = await executed(service, playbook, incident)
        heard: list[str] = []
        async with asyncio.timeout(30):
            while not heard or heard[-1] != "COMPLETED":
                update = (await socket.next())["playbookExecutionUpdated"]
                assert (update["id"], update["incidentId"]) == (run, incident)
                assert update["incident"]["title"].startswith("model is slow")
                if update["status"] == "WAITING" and "WAITING" not in heard:
                    approve = 'mutation($id: ID!) { approvePlaybook(executionId: $id, comment: "go") { status } }'
                    await data(service.http, approve, id=run)
                heard.append(update["status"])
        assert "WAITING" in heard
        assert [(step["stepId"], step["status"]) for step in update["stepsExecuted"]] == [
            ("ask", "COMPLETED"), ("quick", "COMPLETED"),
        ]  # fmt: skip


async def test_playbooks_and_their_runs_are_found_and_ended(service: Service, playbook: str) -> None:
    incident = await service.incident()
    run = await executed(service, playbook, incident)
    found = await data(
        service.http,
        f"""query($id: ID!, $run: ID!, $incident: ID!) {{
            playbook(id: $id) {{ name enabled triggers execution }}
            playbooks(enabled: true, first: 100) {{ nodes {{ id }} }}
            playbookRun(id: $run) {{ {RUN} playbook {{ name }} }}
            playbookRuns(incidentId: $incident, playbookId: $id, status: [PENDING, RUNNING, WAITING]) {{ id }}
            incident(id: $incident) {{ playbookExecutions {{ id status }} playbook_executions {{ id }} }}
            playbookActions {{ name destructive parameters }}
        }}""",
        id=playbook, run=run, incident=incident,
    )  # fmt: skip
    assert found["playbook"]["name"] == found["playbookRun"]["playbook"]["name"] == "Ask first"
    assert playbook in {one["id"] for one in found["playbooks"]["nodes"]}
    assert found["playbookRuns"] == found["incident"]["playbook_executions"] == [{"id": run}]
    assert found["incident"]["playbookExecutions"][0]["id"] == run
    assert "url" in next(a for a in found["playbookActions"] if a["name"] == "http_request")["parameters"]["properties"]
    again = f'mutation {{ executePlaybook(incidentId: "{incident}", playbookId: "{playbook}") {{ id }} }}'
    twice = await refused(service.http, again)
    assert twice["extensions"]["code"] == "CONFLICT"
    await waits(service, run)
    ended = await data(service.http, f'mutation {{ cancelPlaybookExecution(executionId: "{run}") {{ status error }} }}')
    assert ended["cancelPlaybookExecution"] == {"status": "CANCELLED", "error": "cancelled by local"}
    late = await refused(service.http, f'mutation {{ rejectPlaybook(executionId: "{run}") {{ id }} }}')
    assert late["extensions"]["code"] == "CONFLICT"
    assert (await data(service.http, f'mutation {{ deletePlaybook(id: "{playbook}") }}'))["deletePlaybook"] is True
    gone = await refused(service.http, '{ playbookRun(id: "no-run") { id } }')
    assert gone["extensions"]["code"] == "NOT_FOUND"
