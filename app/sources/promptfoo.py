"""promptfoo's results, as `promptfoo eval --output results.json` writes them, red teaming included.

Source: promptfoo, src/types (EvaluateSummaryV3). Prompts, outputs and variables are not kept; a prompt without a label
of its own has its whole text for one, and is named by a digest. Errors are of the provider, not of its quality.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.sources.base import Post, Source, pseudonym
from app.sources.reports import BLIND, Finding, count, inbound, moment, part, rows, share, word

LABEL_MAX = 80
Row = dict[str, object]


class Suite(NamedTuple):
    """What is judged together: a provider with a prompt, or with a plugin of red teaming."""

    provider: str
    prompt: str
    plugin: str

    @property
    def name(self) -> str:
        tested = f"plugin {self.plugin}" if self.plugin else f"prompt {self.prompt}" if self.prompt else ""
        return " with ".join(filter(None, (self.provider, tested)))


class Tally:
    """How many tests of a suite passed, failed, and could not be made."""

    passed = failed = broken = 0


def read(post: Post) -> Inbound:
    """Two findings for each suite: whether too many fail, and whether any could not be made. Raises: Invalid."""
    said = post.json
    results = part(said, "results") if isinstance(part(said, "results"), dict) else said
    tallies = _of_results(rows(part(results, "results"))) or _of_prompts(rows(part(results, "prompts")))
    if not tallies:
        raise Invalid.field("results", "must be promptfoo's, with results or with prompts and their metrics")
    allowed, notes = share(post, 0.0), {"url": part(said, "shareableUrl")}
    findings = [one for suite, tally in tallies.items() for one in _findings(suite, tally, allowed, notes)]
    run, at = word(part(said, "evalId")), moment(part(results, "timestamp"))
    return inbound("promptfoo", post, findings, run=run or None, at=at)


def _of_results(results: list[Row]) -> dict[Suite, Tally]:
    tallies: dict[Suite, Tally] = defaultdict(Tally)
    for row in results:
        if not isinstance(row.get("success"), bool):
            continue
        plugin = word(part(row, "metadata", "pluginId"))
        prompt = "" if plugin else _label(part(row, "prompt", "label"), part(row, "prompt", "raw"))
        tally = tallies[Suite(_provider(row.get("provider")), prompt, plugin[:LABEL_MAX])]
        if row["success"]:
            tally.passed += 1
        elif row.get("failureReason") == 2 or ("failureReason" not in row and row.get("error")):
            tally.broken += 1
        else:
            tally.failed += 1
    return tallies


def _of_prompts(prompts: list[Row]) -> dict[Suite, Tally]:
    """Of a file whose results were left out: the counts that stand with its prompts."""
    tallies: dict[Suite, Tally] = defaultdict(Tally)
    for row in prompts:
        if isinstance(metrics := row.get("metrics"), dict):
            tally = tallies[Suite(_provider(row.get("provider")), _label(row.get("label"), row.get("raw")), "")]
            tally.passed += count(metrics.get("testPassCount"))
            tally.failed += count(metrics.get("testFailCount"))
            tally.broken += count(metrics.get("testErrorCount"))
    return tallies


def _provider(value: object) -> str:
    said = word(value) or word(part(value, "label")) or word(part(value, "id"))
    return said[:LABEL_MAX] or "an unnamed provider"


def _label(label: object, raw: object) -> str:
    text = label if isinstance(label, str) else raw if isinstance(raw, str) else ""
    plain = len(text) <= LABEL_MAX and "\n" not in text and "{{" not in text
    return word(text) if plain and text != raw else pseudonym(text)[:8] if text else ""


def _findings(suite: Suite, tally: Tally, allowed: float, notes: dict[str, object]) -> Iterator[Finding]:
    labels = {"provider": suite.provider, "prompt": suite.prompt, "plugin": suite.plugin}
    identity, judged = "/".join(suite), tally.passed + tally.failed
    if judged:
        rate = tally.failed / judged
        yield Finding(
            identity, f"promptfoo: {suite.name} fails", rate > allowed, labels=labels,
            description=f"{tally.failed} of {judged} tests failed ({rate:.1%}); {allowed:.1%} are allowed.",
            notes={"fail_share": f"{rate:.4f}", **notes},
        )  # fmt: skip
    yield Finding(
        f"{identity}/errors", f"promptfoo: {suite.name} could not be tested", tally.broken > 0, BLIND,
        description=f"{tally.broken} tests ended in an error, {judged} in a verdict.", labels=labels, notes=notes,
    )  # fmt: skip


SAYS = Source(read)
