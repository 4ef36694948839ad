"""Actions on a cluster, against an API server on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.actions import ACTIONS
from app.automation import Kubernetes
from app.domain.errors import Invalid
from app.net.http import LOOPBACK, Http
from tests.support.kubernetes import APPS, CORE, SCALING, TOKEN, FakeKubernetes
from tests.support.receivers import SILENCE, Certificate, Reply
from tests.support.steps import Step, failure, tools, way_out
from tests.support.vendor import up

Said = dict[str, Any]
CHAT = f"{APPS}/deployments/chat"
RESTART: Said = {"action": "service_restart", "deployment": "chat"}
ROLLBACK: Said = {"action": "service_rollback", "deployment": "chat"}
SCALE: Said = {"action": "scale_horizontal", "deployment": "chat", "add": 2, "at_most": 6}
SERVER: Said = {"deployment": "chat", "container": "server"}
VERTICAL: Said = {"action": "scale_vertical", **SERVER, "memory_request": "2048Mi", "cpu_limit": "2"}
CONFIG: Said = {
    "action": "config_change", "config_map": "limits", "set": {"rpm": "10", "new": "1", "old": None}, "restart": "chat",
}  # fmt: skip
ALL = [RESTART, ROLLBACK, SCALE, VERTICAL, CONFIG]
CHANGES = [ROLLBACK, SCALE, VERTICAL, CONFIG]


def named(said: Said) -> str:
    return str(said["action"])


@pytest.fixture
async def cluster() -> AsyncIterator[FakeKubernetes]:
    async with up(FakeKubernetes()) as kubernetes:
        kubernetes.deploys("chat", "chat:1")
        kubernetes.releases("chat", "chat:2")
        kubernetes.keeps(
            f"{CORE}/configmaps/limits", {"metadata": {"name": "limits"}, "data": {"rpm": "60", "old": "x"}}
        )
        kubernetes.keeps(f"{CORE}/pods/chat-1", {"metadata": {"name": "chat-1", "uid": "u1"}})
        yield kubernetes


def step(cluster: FakeKubernetes, said: Said, http: Http | None = None, **more: object) -> Step:
    return Step(tools(http, kubernetes={"url": cluster.base, "token": TOKEN}), **{**said, **more})


def containers(cluster: FakeKubernetes) -> Any:
    return cluster.objects[CHAT]["spec"]["template"]["spec"]["containers"]


def spec(cluster: FakeKubernetes) -> tuple[object, object]:
    """All that a step may change for good, but for the marks of restarts."""
    template = cluster.objects[CHAT]["spec"]["template"]
    return (
        {
            **cluster.objects[CHAT]["spec"],
            "template": {"spec": template["spec"], "labels": template["metadata"]["labels"]},
        },
        cluster.objects[f"{CORE}/configmaps/limits"]["data"],
    )


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_a_check_changes_nothing_and_says_what_would(cluster: FakeKubernetes, said: Said) -> None:
    told = await step(cluster, said).checks()
    assert "chat" in told or "limits" in told
    assert "\n" not in told
    assert cluster.writes == []


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_twice_with_one_key_is_once(cluster: FakeKubernetes, said: Said) -> None:
    tried = step(cluster, said)
    done, once = await tried.runs(), len(cluster.writes)
    left = spec(cluster)
    again = await tried.again()
    assert (again.output, spec(cluster), len(cluster.writes)) == (done.output, left, once)


@pytest.mark.parametrize("said", CHANGES, ids=named)
async def test_undo_restores_what_was_there(cluster: FakeKubernetes, said: Said) -> None:
    before = spec(cluster)
    tried = step(cluster, said)
    done = await tried.runs()
    assert spec(cluster) != before
    await tried.undoes(done)
    assert spec(cluster) == before
    await tried.undoes(done)
    assert spec(cluster) == before


@pytest.mark.parametrize("said", CHANGES, ids=named)
async def test_a_change_whose_answer_was_lost_is_found_and_can_be_undone(cluster: FakeKubernetes, said: Said) -> None:
    before = spec(cluster)
    tried = step(cluster, said)
    cluster.lost = Reply(504)
    done = await tried.gets_done()
    cluster.settles("chat")
    await tried.undoes(done)
    assert spec(cluster) == before


@pytest.mark.parametrize("said", CHANGES, ids=named)
async def test_a_try_that_died_before_it_was_written_down_can_be_undone(cluster: FakeKubernetes, said: Said) -> None:
    before = spec(cluster)
    await step(cluster, said).runs()
    another_process = step(cluster, said)
    await another_process.undoes(await another_process.again())
    assert spec(cluster) == before


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_somebody_elses_change_at_the_same_time_is_not_overwritten(cluster: FakeKubernetes, said: Said) -> None:
    tried = step(cluster, said)
    cluster.raced = True
    raced = await failure(tried.runs())
    assert "modified" in raced.message
    assert raced.retry_after is not None
    await tried.again()


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_a_step_is_over_when_its_rollout_is(cluster: FakeKubernetes, said: Said) -> None:
    tried = step(cluster, said)
    done = await tried.runs()
    status = cluster.objects[CHAT]["status"]
    unseen = await failure(tried.verifies(done))
    status["observedGeneration"] = cluster.objects[CHAT]["metadata"]["generation"]
    status["updatedReplicas"], wanted = 1, cluster.objects[CHAT]["spec"]["replicas"]
    half = await failure(tried.verifies(done))
    status |= {"updatedReplicas": wanted, "replicas": wanted + 1}
    old = await failure(tried.verifies(done))
    status |= {"replicas": wanted, "availableReplicas": wanted - 1}
    unready = await failure(tried.verifies(done))
    waits = [unseen, half, old, unready]
    assert [wait.retry_after is not None for wait in waits] == [True] * 4
    assert [wait.message.partition(": ")[2] for wait in waits] == [
        "the change is not seen yet", f"1 of {wanted} replicas are updated", "1 old replicas are still to end",
        f"{wanted - 1} of {wanted} are available",
    ]  # fmt: skip
    cluster.settles("chat")
    assert "updated and available" in await tried.verifies(done)


async def test_a_rollout_that_exceeded_its_deadline_will_not_end(cluster: FakeKubernetes) -> None:
    tried = step(cluster, RESTART)
    done = await tried.runs()
    cluster.settles("chat")
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "no GPU"}
    cluster.objects[CHAT]["status"]["conditions"] = [stuck]
    never = await failure(tried.verifies(done))
    assert never.retry_after is None
    assert "no GPU" in never.message


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_what_the_account_may_not_do_is_said(cluster: FakeKubernetes, said: Said) -> None:
    cluster.forbidden |= {CHAT, f"{CHAT}/scale", f"{CORE}/configmaps/limits"}
    no = await failure(step(cluster, said).runs())
    assert "answered 403" in no.message
    assert "cannot patch" in no.message
    assert (no.retry_after, no.doubtful) == (None, False)


@pytest.mark.parametrize("said", ALL, ids=named)
@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (Reply(401, body=b'{"kind":"Status","message":"Unauthorized"}'), None),
        (Reply(404, body=b'{"kind":"Status","message":"not found"}'), None),
        (Reply(302, {"location": "https://elsewhere.example"}), None),
        (Reply(429, {"retry-after": "7"}), 7),
        (Reply(503), 2),
        (Reply(200, body=b"<html>"), 2),
        (Reply(200, body=b"[]"), 3),
    ],
    ids=["wrong token", "unknown", "redirect", "429", "503", "garbage", "no object"],
)
async def test_a_server_that_does_not_answer_well(
    cluster: FakeKubernetes, said: Said, reply: Reply, passes: float | None
) -> None:
    tried = step(cluster, said)
    cluster.replies.append(reply)
    no = await failure(tried.checks())
    assert (no.retry_after and no.retry_after.total_seconds()) == passes
    assert TOKEN not in no.message
    assert cluster.writes == []
    await tried.checks()


async def test_silence_passes_and_may_have_been_heard(cluster: FakeKubernetes) -> None:
    tried = step(cluster, RESTART, way_out(0.7))
    cluster.lost = SILENCE
    late = await failure(tried.runs())
    assert (late.doubtful, late.retry_after is not None) == (True, True)
    assert "no answer within 0.7 s" in late.message
    await tried.again()
    assert len(cluster.writes) == 1


async def test_a_name_that_is_not_there_is_said(cluster: FakeKubernetes) -> None:
    nope = [(said, "deployment") for said in (RESTART, ROLLBACK, SCALE, VERTICAL)]
    for said, name in [*nope, (CONFIG, "restart"), (CONFIG, "config_map")]:
        no = await failure(step(cluster, {**said, name: "nope"}).checks())
        assert "nope" in no.message
        assert no.retry_after is None
    no = await failure(step(cluster, VERTICAL, container="sidecar").runs())
    assert "no container 'sidecar': it has server" in no.message
    assert cluster.writes == []


async def test_a_pod_is_evicted_once(cluster: FakeKubernetes) -> None:
    tried = step(cluster, {"action": "service_restart", "pod": "chat-1"})
    assert await tried.checks() == "evict pod chat-1"
    done = await tried.runs()
    assert await tried.verifies(done) == "pod chat-1 is gone"
    assert "nothing to evict" in await tried.checks()
    await tried.again()
    assert cluster.writes == [f"POST {CORE}/pods/chat-1/eviction"]


async def test_an_eviction_that_a_budget_refuses_is_tried_later(cluster: FakeKubernetes) -> None:
    tried = step(cluster, {"action": "service_restart", "pod": "chat-1"})
    cluster.protected.add(f"{CORE}/pods/chat-1")
    refused = await failure(tried.runs())
    assert "disruption budget" in refused.message
    assert refused.retry_after is not None
    cluster.protected.clear()
    cluster.lost = Reply(502)
    done = await tried.runs()
    assert done.output == {"uid": "u1"}


async def test_a_pod_that_was_replaced_meanwhile_is_left_alone(cluster: FakeKubernetes) -> None:
    tried = step(cluster, {"action": "service_restart", "pod": "chat-1"})
    cluster.keeps(f"{CORE}/pods/chat-1", {"metadata": {"name": "chat-1", "uid": "u2"}})
    cluster.replies.append(Reply(200, body=b'{"metadata": {"name": "chat-1", "uid": "u1"}}'))
    done = await tried.runs()
    assert done.output == {"uid": "u1"}
    assert f"{CORE}/pods/chat-1" in cluster.objects


async def test_a_pod_that_is_still_ending_is_waited_for(cluster: FakeKubernetes) -> None:
    tried = step(cluster, {"action": "service_restart", "pod": "chat-1"})
    done = await tried.runs()
    cluster.keeps(f"{CORE}/pods/chat-1", {"metadata": {"uid": "u1", "deletionTimestamp": "2026-11-23T08:00:00Z"}})
    assert (await failure(tried.verifies(done))).retry_after is not None
    await tried.again()
    assert len(cluster.writes) == 1
    cluster.keeps(f"{CORE}/pods/chat-1", {"metadata": {"uid": "u2"}})
    assert "gone" in await tried.verifies(done)


async def test_a_rollback_goes_to_the_last_template_that_was_different(cluster: FakeKubernetes) -> None:
    await step(cluster, RESTART).runs()
    await step(cluster, ROLLBACK).runs()
    assert containers(cluster)[0]["image"] == "chat:1"
    assert "pod-template-hash" not in cluster.objects[CHAT]["spec"]["template"]["metadata"]["labels"]


async def test_a_rollback_can_name_its_revision(cluster: FakeKubernetes) -> None:
    cluster.releases("chat", "chat:3")
    await step(cluster, ROLLBACK, to_revision=1).runs()
    assert containers(cluster)[0]["image"] == "chat:1"
    no = await failure(step(cluster, ROLLBACK, to_revision=9).checks())
    assert "no revision 9: there are" in no.message


async def test_there_is_no_rollback_to_nothing(cluster: FakeKubernetes) -> None:
    cluster.deploys("new", "new:1")
    assert "no revision before 1" in (await failure(step(cluster, ROLLBACK, deployment="new").runs())).message
    cluster.objects[CHAT]["spec"]["paused"] = True
    assert "paused" in (await failure(step(cluster, ROLLBACK).runs())).message
    assert "paused" in (await failure(step(cluster, RESTART).checks())).message


async def test_a_check_warns_where_argo_cd_puts_its_own_back(cluster: FakeKubernetes) -> None:
    cluster.objects[CHAT]["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "chat:apps/Deployment:chat"
    assert "Argo CD" in await step(cluster, ROLLBACK).checks()


@pytest.mark.parametrize(
    ("asked", "then"),
    [({"add": 2}, 4), ({"add": 9}, 6), ({"add": -5}, 1), ({"add": None, "replicas": 3}, 3),
     ({"add": None, "replicas": 0, "at_least": 0}, 0)],
)  # fmt: skip
async def test_replicas_stay_within_the_bounds(cluster: FakeKubernetes, asked: Said, then: int) -> None:
    await step(cluster, SCALE, **asked).runs()
    assert cluster.objects[CHAT]["spec"]["replicas"] == then
    assert cluster.writes[-1] == f"PATCH {CHAT}/scale"


@pytest.mark.parametrize(("most", "then"), [(10, 4), (3, 3)])
async def test_where_an_autoscaler_rules_its_minimum_is_raised(cluster: FakeKubernetes, most: int, then: int) -> None:
    ours = {"scaleTargetRef": {"kind": "Deployment", "name": "chat"}, "minReplicas": 2, "maxReplicas": most}
    other = {"scaleTargetRef": {"kind": "Deployment", "name": "other"}, "minReplicas": 1, "maxReplicas": 2}
    cluster.keeps(f"{SCALING}/other", {"metadata": {"name": "other"}, "spec": other})
    cluster.keeps(f"{SCALING}/chat", {"metadata": {"name": "chat"}, "spec": ours})
    tried = step(cluster, SCALE)
    done = await tried.runs()
    assert await tried.again() == done
    assert cluster.objects[f"{SCALING}/chat"]["spec"]["minReplicas"] == then
    assert cluster.objects[CHAT]["spec"]["replicas"] == 2
    await tried.undoes(done)
    assert cluster.objects[f"{SCALING}/chat"]["spec"] == ours
    assert cluster.objects[f"{SCALING}/other"]["spec"] == other


async def test_replicas_that_somebody_else_has_changed_since_stay(cluster: FakeKubernetes) -> None:
    tried = step(cluster, SCALE)
    done = await tried.runs()
    cluster.objects[CHAT]["spec"]["replicas"] = 5
    assert "somebody else" in (await failure(tried.undoes(done))).message
    assert cluster.objects[CHAT]["spec"]["replicas"] == 5


async def test_only_the_resources_that_are_named_change(cluster: FakeKubernetes) -> None:
    await step(cluster, VERTICAL).runs()
    assert containers(cluster) == [{
        "name": "server", "image": "chat:2",
        "resources": {"requests": {"cpu": "1", "memory": "2048Mi"}, "limits": {"cpu": "2"}},
    }]  # fmt: skip


async def test_the_server_may_write_a_quantity_its_own_way(cluster: FakeKubernetes) -> None:
    tried = step(cluster, VERTICAL)
    done = await tried.runs()
    containers(cluster)[0]["resources"] = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2000m"}}
    cluster.settles("chat")
    await tried.verifies(done)
    assert len(cluster.writes) == 1
    await tried.again()
    assert len(cluster.writes) == 1


async def test_a_config_map_is_changed_by_key_and_its_deployment_restarted(cluster: FakeKubernetes) -> None:
    await step(cluster, CONFIG).runs()
    assert cluster.objects[f"{CORE}/configmaps/limits"]["data"] == {"rpm": "10", "new": "1"}
    assert cluster.writes == [f"PATCH {CORE}/configmaps/limits", f"PATCH {CHAT}"]


async def test_a_config_map_that_cannot_be_put_back_is_not_changed(cluster: FakeKubernetes) -> None:
    limits = cluster.objects[f"{CORE}/configmaps/limits"]
    limits["data"]["rpm"] = "x" * 40_000
    assert "could not be kept" in (await failure(step(cluster, CONFIG).runs())).message
    limits["immutable"] = True
    assert "immutable" in (await failure(step(cluster, CONFIG).checks())).message


@pytest.mark.parametrize(
    ("said", "more", "told"),
    [
        (RESTART, {"pod": "chat-1"}, "either deployment or pod"),
        (RESTART, {"deployment": "../secrets"}, "deployment"),
        (ROLLBACK, {"to_revision": 0}, "to_revision"),
        (SCALE, {"replicas": 3}, "either replicas or add"),
        (SCALE, {"at_least": 7}, "at_least must not be more"),
        (SCALE, {"at_most": 1001}, "at_most"),
        (VERTICAL, {"cpu_limit": "much"}, "cpu_limit"),
        (VERTICAL, {"memory_request": None, "cpu_limit": None}, "at least one of cpu_request"),
        (CONFIG, {"set": {}}, "set"),
        (CONFIG, {"set": {"a/b": "1"}}, "set"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(
    cluster: FakeKubernetes, said: Said, more: Said, told: str
) -> None:
    with pytest.raises(Invalid, match=told):
        step(cluster, said, **more)


async def test_the_token_is_read_anew_for_each_step(cluster: FakeKubernetes, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired")
    tried = Step(tools(kubernetes={"url": cluster.base, "token_path": token}), **RESTART)
    assert "401" in (await failure(tried.checks())).message
    token.write_text(f"{TOKEN}\n")
    await tried.checks()
    token.unlink()
    assert "token_path: No such file" in (await failure(tried.checks())).message


async def test_a_cluster_is_trusted_by_its_own_authority(tmp_path: Path) -> None:
    certificate = Certificate.made(tmp_path)
    async with up(FakeKubernetes(tls=certificate.context)) as cluster:
        cluster.deploys("chat", "chat:1")
        said: Said = {"url": cluster.base, "token": TOKEN}
        assert "CERTIFICATE_VERIFY_FAILED" in (await failure(Step(tools(kubernetes=said), **RESTART).checks())).message
        async with Http(LOOPBACK) as http:
            using = tools(http, kubernetes=said | {"ca_path": certificate.path})
            assert "2 replicas" in await Step(using, **RESTART).checks()
            assert http.trusting(certificate.path).transport is http.trusting(certificate.path).transport


def test_a_file_that_is_no_certificate_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ValueError, match="must be a PEM file of certificates"):
        Kubernetes.model_validate({"ca_path": tmp_path / "ca.pem"})


def test_without_a_cluster_there_are_no_actions_on_one() -> None:
    assert [name for name in map(named, ALL) if ACTIONS[name](tools()) is not None] == []
