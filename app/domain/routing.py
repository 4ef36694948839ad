"""Routing rules: where an incident goes, decided by rules in order and told with its reasons.

Rules are asked by priority, the highest first, ties by id. A later rule sees the severity and the labels that
earlier ones have set, and cannot change them: of severity, policy, assignee and each label the first word counts.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from app.domain.escalation import Facts, Level, Policy, Target, choose
from app.domain.incident import Hold, HoldReason
from app.domain.matching import Subject, Tested, explain, holds
from app.domain.record import Record
from app.domain.rules import (
    AddLabels,
    AnyAction,
    ApplyPlaybook,
    Assign,
    Notify,
    Rule,
    SetPolicy,
    SetSeverity,
    Suppress,
)
from app.domain.vocabulary import ChannelName

RULES_SHOWN = 30
TESTS_SHOWN = 10


class Effect(Record):
    """What one action did, or why it did nothing."""

    action: str
    says: str
    done: bool = True


class Verdict(Record):
    """What one rule made of the incident, and the tests it did so by."""

    rule: str
    name: str
    matched: bool
    tests: tuple[Tested, ...]
    effects: tuple[Effect, ...] = ()
    stopped: bool = False


class Decision(Record):
    """Everything the rules want together. `subject` is the incident as they leave it, `set_by` says by which rule.

    `assign` and `suppress` (in minutes) name the rule, too. `replaced` is what the incident had where it is now given
    another label.
    """

    subject: Subject
    set_by: dict[str, str] = {}
    labels: dict[str, str] = {}
    replaced: dict[str, str] = {}
    policy_id: str | None = None
    assign: tuple[str, Assign] | None = None
    notify: tuple[Notify, ...] = ()
    playbooks: tuple[str, ...] = ()
    suppress: tuple[tuple[str, int], ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """Those that matched, in order."""
        return tuple(verdict.rule for verdict in self.verdicts if verdict.matched)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Everybody who is told, too, each once."""
        return tuple({target.label: target for notify in self.notify for target in notify.targets}.values())

    @property
    def channels(self) -> tuple[ChannelName, ...]:
        """What those are told through; empty = all."""
        if any(not notify.channels for notify in self.notify):
            return ()
        return tuple(dict.fromkeys(channel for notify in self.notify for channel in notify.channels))

    def holds(self, opened_at: datetime, at: datetime) -> tuple[Hold, ...]:
        """Why nobody is paged `at` a moment, of an incident opened when it was."""
        until = [(rule, opened_at + timedelta(minutes=minutes)) for rule, minutes in self.suppress]
        return tuple(Hold(reason=HoldReason.RULE, by=rule, until=end) for rule, end in until if end > at)

    def explanation(self) -> list[dict[str, Any]]:
        """The verdicts as JSON, in order: all that matched come before the bound cuts any of them off."""
        matched = [verdict for verdict in self.verdicts if verdict.matched][:RULES_SHOWN]
        others = [verdict for verdict in self.verdicts if not verdict.matched][: RULES_SHOWN - len(matched)]
        shown = {verdict.rule for verdict in (*matched, *others)}
        return [
            v.model_copy(update={"tests": v.tests[:TESTS_SHOWN]}).model_dump(mode="json")
            for v in self.verdicts
            if v.rule in shown
        ]


def decide(rules: Collection[Rule], subject: Subject, *, explained: bool = True) -> Decision:
    """What the enabled rules make of an incident, each asked in its turn until one that matches stops.

    Where nobody asks why, leaving the tests out makes it several times as fast.
    """
    decision = Decision(subject=subject)
    for rule in sorted(rules, key=lambda rule: (-rule.priority, rule.id)):
        if not rule.enabled:
            continue
        decision = _judged(decision, rule, explained)
        if decision.verdicts[-1].stopped:
            break
    return decision


def policy_of(decision: Decision, policies: tuple[Policy, ...], default: str) -> Policy | None:
    """The policy an incident climbs after the rules: the one they name, if it is there and enabled, else what fits."""
    named = (policy for policy in policies if policy.id == decision.policy_id and policy.enabled)
    facts = Facts.model_validate(decision.subject.model_dump())
    return next(named, None) or choose(policies, facts, default)


def telling(policy: Policy | None, others: tuple[Target, ...], channels: tuple[ChannelName, ...]) -> Policy | None:
    """A policy whose first level tells others, too, through these channels (none = the level's)."""
    more = tuple(target.model_copy(update={"channels": channels}) for target in others)
    if not more:
        return policy
    if policy is None:
        return Policy(id="routing", name="told by a routing rule", levels=(Level(targets=more),))
    first = policy.levels[0]
    there = {target.label for target in first.targets}
    told = first.targets + tuple(target for target in more if target.label not in there)
    return policy.model_copy(update={"levels": (first.model_copy(update={"targets": told}), *policy.levels[1:])})


def _judged(decision: Decision, rule: Rule, explained: bool) -> Decision:
    subject, effects = decision.subject, []
    matched = holds(rule.conditions, subject)
    for action in rule.actions if matched else ():
        decision, effect = _done(decision, rule.id, action)
        effects.append(effect)
    verdict = Verdict(
        rule=rule.id, name=rule.name, matched=matched, effects=tuple(effects), stopped=matched and rule.then == "stop",
        tests=explain(rule.conditions, subject) if explained else (),
    )  # fmt: skip
    return decision.model_copy(update={"verdicts": (*decision.verdicts, verdict)})


def _done(decision: Decision, rule: str, action: AnyAction) -> tuple[Decision, Effect]:
    """The decision with an action taken."""
    subject = decision.subject
    match action:
        case SetSeverity(severity=severity):
            changed = subject.model_copy(update={"severity": severity})
            return _first(decision, rule, action, "severity", f"severity is {severity}", subject=changed)
        case SetPolicy(policy_id=policy):
            return _first(decision, rule, action, "policy", f"policy is {policy}", policy_id=policy)
        case Assign():
            among = ", ".join(f"{target.type}:{target.id}" for target in action.targets)
            says = f"assigned to one of {among} ({action.strategy})"
            return _first(decision, rule, action, "assignee", says, assign=(rule, action))
        case AddLabels():
            return _labelled(decision, rule, action)
        case Notify():
            says = f"also tells {', '.join(target.label for target in action.targets)}"
            return _more(decision, action, says, notify=(*decision.notify, action))
        case ApplyPlaybook(playbook_id=playbook):
            playbooks = tuple(dict.fromkeys((*decision.playbooks, playbook)))
            return _more(decision, action, f"applies {playbook}", playbooks=playbooks)
        case Suppress(duration_minutes=minutes):
            suppress = (*decision.suppress, (rule, minutes))
            return _more(decision, action, f"pages nobody for {minutes} minutes", suppress=suppress)


def _more(decision: Decision, action: AnyAction, says: str, **changes: object) -> tuple[Decision, Effect]:
    return decision.model_copy(update=changes), Effect(action=action.type, says=says)


def _first(
    decision: Decision, rule: str, action: AnyAction, what: str, says: str, **changes: object
) -> tuple[Decision, Effect]:
    if what in decision.set_by:
        already = f"{what} was already set by {decision.set_by[what]}"
        return decision, Effect(action=action.type, says=already, done=False)
    return _more(decision, action, says, set_by=decision.set_by | {what: rule}, **changes)


def _labelled(decision: Decision, rule: str, action: AddLabels) -> tuple[Decision, Effect]:
    fresh = {name: value for name, value in action.labels.items() if name not in decision.labels}
    if not fresh:
        by = ", ".join(sorted({decision.set_by[f"tags.{name}"] for name in action.labels}))
        return decision, Effect(action=action.type, says=f"its labels were already set by {by}", done=False)
    tags = decision.subject.tags
    replaced = decision.replaced | {name: tags[name] for name in fresh if name in tags}
    says = f"adds {', '.join(f'{name}={value[:100]}' for name, value in sorted(fresh.items()))}"
    return _more(
        decision, action, says[:1000], subject=decision.subject.model_copy(update={"tags": tags | fresh}),
        labels=decision.labels | fresh, replaced=replaced,
        set_by=decision.set_by | {f"tags.{name}": rule for name in fresh},
    )  # fmt: skip
