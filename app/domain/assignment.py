"""Who of those a rule names gets an incident."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.domain.matching import Subject
from app.domain.oncall import on_duty
from app.domain.people import User
from app.domain.reach import People
from app.domain.record import Record
from app.domain.rules import Assign, Assignee, Strategy
from app.domain.vocabulary import TargetType

BY_LOAD = (Strategy.LOAD_BALANCED, Strategy.SKILL_BASED)


class Candidate(Record):
    """Somebody active an incident could go to, and the team they stand for."""

    user: User
    team: str | None
    weight: float


class Assignment(Record):
    """Whom an incident goes to, a person, a team or both, and why; neither when nobody fits."""

    rule: str
    user: str | None = None
    team: str | None = None
    why: str


def candidates(assign: Assign, people: People, at: datetime) -> tuple[Candidate, ...]:
    """The active people behind an assignment's targets, each once, in the targets' order."""
    found: dict[str, Candidate] = {}
    for target in assign.targets:
        for id_ in _behind(target, assign.strategy, people, at):
            user = people.users.get(id_)
            if user is not None and user.active:
                team = target.id if target.type is TargetType.TEAM else None
                found.setdefault(id_, Candidate(user=user, team=team, weight=target.weight))
    return tuple(found.values())


def assigned(
    rule: str, assign: Assign, people: People, loads: Mapping[str, int], subject: Subject, at: datetime
) -> Assignment:
    """Whom the incident goes to. `loads` are the open incidents by person; who isn't in it has none.

    direct: the first target. on_call: the first target's duty. load_balanced: the fewest open incidents for their
    weight. skill_based: the most of the wanted skills, then the fewest. Ties go by id.
    """
    first = assign.targets[0]
    if assign.strategy is Strategy.DIRECT and first.type is TargetType.TEAM:
        known = first.id in people.teams
        why = "named by the rule" if known else "there is no such team"
        return Assignment(rule=rule, team=first.id if known else None, why=why)
    found = candidates(assign, people, at)
    if not found:
        return Assignment(rule=rule, why=_NOBODY[assign.strategy])

    def share(candidate: Candidate) -> tuple[float, str]:
        return loads.get(candidate.user.id, 0) / candidate.weight, candidate.user.id

    if assign.strategy is Strategy.SKILL_BASED:
        wanted = wanted_skills(assign, subject)
        best = max(len(_skills(candidate) & wanted) for candidate in found)
        if not best:
            return Assignment(rule=rule, why=f"nobody has a skill of {', '.join(sorted(wanted))[:500]}")
        able = [candidate for candidate in found if len(_skills(candidate) & wanted) == best]
        chosen = min(able, key=share)
        why = f"knows {', '.join(sorted(_skills(chosen) & wanted))}; {_has(loads, chosen)}"
    elif assign.strategy is Strategy.LOAD_BALANCED:
        chosen = min(found, key=share)
        why = f"the least for their weight: {_has(loads, chosen)}"
    else:
        chosen = found[0]
        why = "on duty" if assign.strategy is Strategy.ON_CALL else "named by the rule"
    return Assignment(rule=rule, user=chosen.user.id, team=chosen.team, why=why)


_NOBODY = {
    Strategy.DIRECT: "nobody active is behind the rule's targets",
    Strategy.ON_CALL: "nobody active is on duty",
    Strategy.LOAD_BALANCED: "nobody active is behind the rule's targets",
    Strategy.SKILL_BASED: "nobody active is behind the rule's targets",
}


def wanted_skills(assign: Assign, subject: Subject) -> frozenset[str]:
    """What whoever takes it should know: the rule's skills, else the incident's services, class and labels."""
    own = (*subject.affected_services, subject.incident_class or "", *subject.tags.values())
    return frozenset(skill.casefold() for skill in assign.skills or own if skill)


def _skills(candidate: Candidate) -> frozenset[str]:
    return frozenset(skill.casefold() for skill in candidate.user.skills)


def _has(loads: Mapping[str, int], candidate: Candidate) -> str:
    return f"has {loads.get(candidate.user.id, 0)} open"


def _behind(target: Assignee, strategy: Strategy, people: People, at: datetime) -> Sequence[str]:
    """The people a target stands for: of a team all members, or with `on_call` those on duty in its schedule."""
    if target.type is TargetType.USER:
        return (target.id,)
    schedule_id: str | None = target.id
    if target.type is TargetType.TEAM:
        team = people.teams.get(target.id)
        if strategy is not Strategy.ON_CALL:
            return team.members if team is not None else ()
        schedule_id = team.on_call_schedule_id if team is not None else None
    schedule = people.schedules.get(schedule_id or "")
    return on_duty(schedule, at) if schedule is not None else ()
