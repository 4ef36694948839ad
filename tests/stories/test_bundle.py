"""The bundle for LLM teams: an alert of a class comes in, its playbook begins by itself, and the vendor shows it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from app.bundle import parts
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.incident import CommandKind
from app.domain.run import RunStatus
from tests.support.bundled import ALICE, BOB, Stage, Vendors, bundled
from tests.support.kubernetes import CORE


@pytest.fixture(scope="module")
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with bundled(database_url) as made:
        yield made


@dataclass(frozen=True)
class Case:
    """An alert of a class with tags; `words` are those who agree, in turn; `shows` is what the vendor has then.

    `after`: what it has once the incident is over, where that is another thing.
    """

    playbook: str
    class_: str
    tags: dict[str, str]
    shows: Callable[[Vendors], object]
    becomes: object
    says: str
    words: tuple[tuple[Principal, ...], ...] = ()
    after: object = None


BOTH = (BOB, ALICE)
CASES = [
    Case(
        "provider-outage-reroute", "availability.provider_outage",
        {"model_group": "gpt-5.1", "fallback_model": "claude-sonnet-4-5"}, lambda v: v.fallbacks("gpt-5.1"),
        ["claude-sonnet-4-5"], "go on to the models claude-sonnet-4-5 (before: none)", after=[],
    ),
    Case(
        "rate-limit-throttle", "performance.rate_limit", {"api_key_alias": "batch"},
        lambda v: v.key("batch", "rpm_limit", "max_parallel_requests"), [60, 4], "throttled to 60",
        words=((BOB,),), after=[None, None],
    ),
    Case(
        "cost-runaway", "cost.runaway", {"key_alias": "looping"},
        lambda v: v.key("looping", "rpm_limit", "max_parallel_requests", "blocked"), [10, 1, True],
        "The key is blocked", words=((BOB,), BOTH),
    ),
    Case(
        "prompt-rollback", "quality.drop", {"prompt_name": "answer"}, Vendors.labels, [1],
        "back from version 2 to 1", words=(BOTH,),
    ),
    Case(
        "model-rollback", "deploy.bad_model_version", {"deployment": "chat"}, lambda v: v.image("chat"), "chat:1",
        "Deployment chat is back at", words=(BOTH,),
    ),
    Case(
        "gpu-failure", "infrastructure.gpu_fault", {"pod": "chat-1", "Hostname": "node-7", "err_code": "79"},
        lambda v: f"{CORE}/pods/chat-1" in v.cluster.objects, False, "Cordon node node-7", words=((BOB,),),
    ),
    Case(
        "queue-scale", "capacity.queue", {"deployment": "busy"}, lambda v: v.deployment("busy")["replicas"], 4,
        'busy is scaled: {"replicas": 2} to {"replicas": 4}', words=((BOB,),), after=2,
    ),
    Case(
        "guardrail-outage", "security.guardrail_outage", {"standby_guardrail_id": "g1"}, Vendors.guardrail, True,
        "g1 applies to every request", words=((BOB,),), after=False,
    ),
    Case(
        "injection-response", "security.prompt_injection", {"guardrail_id": "g1", "api_key_alias": "attacking"},
        lambda v: [v.guardrail(), *v.key("attacking", "blocked")], [True, True], "g1 applies to every request",
        words=((BOB,), BOTH), after=[False, True],
    ),
    Case(
        "pii-leak", "privacy.pii_leak", {"api_key_alias": "seeing"},
        lambda v: [*v.key("seeing", "blocked"), [one.path for one in v.vllm.items if one.method == "POST"]],
        [True, ["/reset_prefix_cache"]], "72 hours", words=(BOTH,),
    ),
    Case(
        "key-leak", "security.key_leak", {"api_key_alias": "leaked"}, lambda v: v.key("leaked", "blocked"), [True],
        "The key is blocked",
    ),
    Case(
        "rag-recovery", "rag.staleness", {"deployment": "ingest"},
        lambda v: list(v.deployment("ingest")["template"]["metadata"].get("annotations", {})),
        ["kubectl.kubernetes.io/restartedAt"], "Deployment ingest is restarted.", words=((BOB,),),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.playbook)
async def test_from_the_alert_to_the_outcome(stage: Stage, case: Case) -> None:
    where = {"vllm_url": f"http://127.0.0.1:{stage.vendors.vllm.port}"} if case.playbook == "pii-leak" else {}
    before = case.shows(stage.vendors)
    story, run = await stage.alert(case.class_, **case.tags, **where)
    assert (run.playbook_id, run.by_hand) == (case.playbook, False)
    for n, people in enumerate(case.words):
        if n and case.playbook == "cost-runaway":
            await stage.rests(run, "watch")
            await stage.passes(run, minutes=16)
        assert case.shows(stage.vendors) != case.becomes
        await stage.agree(run, *people)
    done = await stage.rests(run, "watch")
    assert case.shows(stage.vendors) == case.becomes != before
    assert case.says in "\n".join(await stage.notes(story))
    await story.ask(CommandKind.RESOLVE)
    if not done.status.over:
        await stage.passes(run, minutes=31)
    view = await stage.ends(run)
    assert (view.status, view.error) == (RunStatus.COMPLETED, None)
    assert case.shows(stage.vendors) == (case.becomes if case.after is None else case.after)


async def test_every_playbook_has_its_story() -> None:
    assert {case.playbook for case in CASES} == {part.id for part in parts("llmops") if part.kind == "playbooks"}


async def test_where_the_precheck_fails_nothing_is_changed_and_nobody_is_asked(stage: Stage) -> None:
    written = len(stage.vendors.litellm.writes)
    story, run = await stage.alert("availability.provider_outage", model_group="gpt-5.1")
    view = await stage.ends(run)
    assert [step.step_id for step in view.steps] == ["precheck", "not-now"]
    assert view.status is RunStatus.COMPLETED
    assert await stage.notes(story) == [
        "Reroute a provider outage: nothing was done. It needs an open incident with the tags model_group (or"
        " requested_model) and fallback_model."
    ]
    assert len(stage.vendors.litellm.writes) == written


async def test_a_fallback_that_the_proxy_does_not_know_is_not_set(stage: Stage) -> None:
    written = len(stage.vendors.litellm.writes)
    story, run = await stage.alert("availability.provider_outage", model_group="gpt-5.1", fallback_model="gpt-0")
    view = await stage.ends(run)
    assert (view.status, view.error) == (RunStatus.FAILED, "LiteLLM knows no model gpt-0")
    assert "it failed, see the playbook's run" in (await stage.notes(story))[0]
    assert len(stage.vendors.litellm.writes) == written


async def test_one_no_is_enough_and_nothing_is_changed(stage: Stage) -> None:
    stage.vendors.langfuse.prompts["kept"] = {1: [], 2: ["production"]}
    written = len(stage.vendors.langfuse.writes)
    _, run = await stage.alert("quality.hallucination", prompt_name="kept")
    await stage.asked(run)
    await stage.world.gateway.playbooks.decide(BOB, run.id, approve=False)
    view = await stage.ends(run)
    assert (view.status, view.error) == (RunStatus.FAILED, "bob rejected it")
    assert len(stage.vendors.langfuse.writes) == written


async def test_what_somebody_else_has_changed_meanwhile_is_left_to_them_and_said(stage: Stage) -> None:
    key = stage.vendors.litellm.issues("shared")
    story, run = await stage.alert("performance.rate_limit", api_key_alias="shared")
    await stage.agree(run, BOB)
    await stage.rests(run, "watch")
    stage.vendors.litellm.keys[key]["rpm_limit"] = 500
    await story.ask(CommandKind.RESOLVE)
    await stage.passes(run, minutes=16)
    view = await stage.ends(run)
    assert view.status is RunStatus.FAILED
    assert "is somebody else's: it stays" in (view.error or "").replace("which ", "")
    assert stage.vendors.litellm.keys[key]["rpm_limit"] == 500


async def test_what_is_not_over_in_time_stays_as_it_is_and_says_so(stage: Stage) -> None:
    tags = {"model_group": "llama", "fallback_model": "gpt-5.1"}
    story, run = await stage.alert("availability.provider_outage", **tags)
    await stage.rests(run, "watch")
    await stage.passes(run, minutes=16)
    await stage.rests(run, "watch-on")
    assert "the outage is not over" in (await stage.notes(story))[-1]
    await stage.passes(run, hours=7)
    assert (await stage.ends(run)).status is RunStatus.COMPLETED
    assert stage.vendors.fallbacks("llama") == ["gpt-5.1"]
    assert "stays until somebody takes it back" in (await stage.notes(story))[-1]


ROUTES = [
    ("availability.provider_outage", "P0", "llmops-p0"), ("performance.latency", "P1", "llmops-p1"),
    ("deploy.finetune_failed", "P4", "llmops-low"), ("agent.tool_failure", "P2", "llmops-p2"),
    ("agent.loop", "P2", "llmops-finops"), ("cost.budget", "P3", "llmops-finops"),
    ("safety.toxic_output", "P2", "llmops-security"), ("privacy.pii_leak", "P1", "llmops-security"),
    ("rag.staleness", "P3", "llmops-quality"), ("drift.model", "P3", "llmops-quality"),
    ("infrastructure.gpu_oom", "P2", "llmops-platform"), ("observability.blind_spot", "P3", "llmops-low"),
]  # fmt: skip


async def test_each_class_goes_to_its_team_and_outside_production_nobody_is_woken(stage: Stage) -> None:
    for class_, severity, policy in ROUTES:
        story = await stage.world.opens(["alice"], labels={"class": class_}, severity=severity)
        view = await stage.world.gateway.incidents.get(ME, story.id)
        assert (view.escalation_policy_id, view.severity) == (policy, severity), class_
    trial = await stage.world.opens(["alice"], labels={"class": "cost.budget"}, severity="P0", environment="staging")
    view = await stage.world.gateway.incidents.get(ME, trial.id)
    assert (view.escalation_policy_id, view.severity) == ("llmops-low", "P3")
    elsewhere = await stage.world.opens(["alice"])
    view = await stage.world.gateway.incidents.get(ME, elsewhere.id)
    assert view.escalation_policy_id == elsewhere.alert.source
