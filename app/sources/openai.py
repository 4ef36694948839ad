"""OpenAI's webhooks, signed by Standard Webhooks.

Source: openai-python, types/webhooks/* and lib/_webhooks.py. `{id, object: "event", type, created_at, data: {id}}`.
"""

from app.domain.digging import dug, moment_at, text_at
from app.domain.inbound import Inbound, Sample, Signal
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source
from app.sources.provider_event import Event, Means, alert_of, delivered, known
from app.sources.signatures import standard_webhooks
from app.sources.text import cut

NAME = "openai"
SAFETY = "security.jailbreak"
MEANS = {
    "fine_tuning.job.failed": Means("OpenAI: a fine-tuning job failed", "deploy.finetune_failed", Severity.P3),
    "eval.run.failed": Means("OpenAI: an evaluation could not run", "observability.blind_spot", Severity.P3),
    "batch.failed": Means("OpenAI: a batch failed", "other.application", Severity.P3),
    "batch.expired": Means("OpenAI: a batch was not done in time", "other.application", Severity.P3),
    "agent.session.failed": Means("OpenAI: an agent's session failed", "agent.tool_failure", Severity.P2),
    "safety.alert.created": Means("OpenAI: a safety alert", SAFETY, Severity.P2),
    "safety.warning_issued": Means("OpenAI warns: our use breaks its policies", SAFETY, Severity.P1),
    "safety.deactivation_issued": Means("OpenAI has deactivated access over its policies", SAFETY, Severity.P0),
}
BLOCKED = "safety_identifier.blocked"
RESPONSES = {"response.failed": 1, "response.completed": 0}
"""One of very many: they count."""


def read(post: Post) -> Inbound:
    """An alert, or what counts; nothing of what went well. Raises: Invalid."""
    said = post.json
    data, kind = dug(said, "data"), known(text_at(said, "type"))
    event = Event(
        kind=kind, about=text_at(data, "id")[:200], at=moment_at(said, "created_at"),
        delivery=delivered(post, text_at(said, "id")),
        labels={name: text_at(data, name) for name in ("model", "project_id", "request_id")},
    )  # fmt: skip
    if kind == BLOCKED:
        return Inbound(samples=(_blocked(event, data),), delivery=event.delivery or None)
    if kind in RESPONSES:
        bad = RESPONSES[kind]
        counted = Sample(signal=Signal.ERRORS, source=NAME, subject={"provider": NAME}, at=event.at, bad=bad)
        return Inbound(samples=(counted,), delivery=event.delivery or None)
    means = MEANS.get(kind)
    if means is None and kind.startswith("safety"):
        means = Means(f"OpenAI: {kind}", SAFETY, Severity.P2)
    if means is None and event.failed:
        means = Means(f"OpenAI: {kind}", "other.application", Severity.P3)
    return Inbound(alerts=(alert_of(NAME, event, means),)) if means else Inbound()


def _blocked(event: Event, data: object) -> Sample:
    """A user that OpenAI no longer answers: nobody's alarm, many are, so all of them count together."""
    said = {"provider": NAME, "safety_category": cut(text_at(data, "safety_category"), 255)}
    subject = {name: value for name, value in said.items() if value}
    return Sample(signal=Signal.BLOCKS, source=NAME, subject=subject, at=event.at, bad=1)


SAYS = Source(read, standard_webhooks)
