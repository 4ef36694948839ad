"""What the frameworks of compliance ask of an incident, and what is known about it. Absence of evidence is neither

compliance nor violation: it is unknown, and says what is missing.

Source of the rules: the first version's ids, and Regulation (EU) 2016/679 Art. 33(1) for the 72 hours.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pydantic import AwareDatetime

from app.domain.record import Record

NOTIFIED_WITHIN = timedelta(hours=72)
YES = frozenset({"true", "yes", "1"})
NO = frozenset({"false", "no", "0"})


class Framework(StrEnum):
    GDPR = "GDPR"
    HIPAA = "HIPAA"
    SOC2 = "SOC2"
    PCI = "PCI"
    ISO27001 = "ISO27001"


class Verdict(StrEnum):
    COMPLIANT = "compliant"
    VIOLATION = "violation"
    UNKNOWN = "unknown"


class Rule(NamedTuple):
    """`about`: the evidence that says whether it applies (None: always); `proof`: the evidence that decides it."""

    id: str
    framework: Framework
    title: str
    severity: str
    about: str | None
    proof: str
    remedy: str


G, H, S, P, I = Framework.GDPR, Framework.HIPAA, Framework.SOC2, Framework.PCI, Framework.ISO27001  # noqa: E741
RULES = (
    Rule("GDPR-001", G, "Authorities are told of a breach within 72 hours", "critical", "contains_pii",
         "notification_sent", "Tell the supervisory authority now, with the reasons for the delay (Art. 33)."),
    Rule("GDPR-002", G, "The rights of data subjects are kept", "high", "contains_pii",
         "data_subject_rights_protected", "Answer the requests of data subjects that this touches."),
    Rule("GDPR-003", G, "No more personal data than needed", "medium", "contains_pii",
         "data_minimized", "Stop collecting, and delete, what the purpose doesn't need."),
    Rule("HIPAA-001", H, "Health information is encrypted", "critical", "contains_phi",
         "data_encrypted", "Encrypt health information at rest and in transit."),
    Rule("HIPAA-002", H, "Access to health information is controlled", "high", "contains_phi",
         "access_controls_enabled", "Let in by role only, and withdraw what nobody needs."),
    Rule("SOC2-001", S, "Incidents are answered by a plan", "high", None,
         "incident_response_plan_executed", "Follow the incident response plan, and write down that it was done."),
    Rule("SOC2-002", S, "There is an audit log", "medium", None,
         "audit_logging_enabled", "Turn on audit logging for what the incident touches."),
    Rule("PCI-001", P, "Stored cardholder data is protected", "critical", "contains_cardholder_data",
         "pci_compliant_storage", "Move cardholder data to a compliant store, or replace it by tokens."),
    Rule("ISO27001-001", I, "The controls of Annex A are in place", "high", None,
         "security_controls_implemented", "Put the controls in place that the statement of applicability names."),
)  # fmt: skip


class Evidence(Record):
    """What is known; null is not known. `notification_sent_at` is aware."""

    contains_pii: bool | None = None
    contains_phi: bool | None = None
    contains_cardholder_data: bool | None = None
    notification_sent: bool | None = None
    notification_sent_at: AwareDatetime | None = None
    data_subject_rights_protected: bool | None = None
    data_minimized: bool | None = None
    data_encrypted: bool | None = None
    access_controls_enabled: bool | None = None
    incident_response_plan_executed: bool | None = None
    audit_logging_enabled: bool | None = None
    pci_compliant_storage: bool | None = None
    security_controls_implemented: bool | None = None


def gathered(tags: Mapping[str, str], incident_class: str | None, said: Evidence | None = None) -> dict[str, object]:
    """What is known of an incident: what was said of it just now, else its tags by the same names, else its class.

    A leak of personal data whose tags, which come from outside, deny that there is any: that is not known.
    """
    known: dict[str, object] = {name: tags[name] for name in Evidence.model_fields if name in tags}
    if incident_class == "privacy.pii_leak" and truth(known.setdefault("contains_pii", True)) is not True:
        del known["contains_pii"]
    return known | (said.model_dump(exclude_none=True) if said else {})


class Checked(Record):
    """One rule's verdict: `evidence` is what it rests on, `missing` the names of what would decide it."""

    rule: str
    framework: Framework
    title: str
    severity: str
    verdict: Verdict
    reason: str
    evidence: dict[str, str] = {}
    missing: tuple[str, ...] = ()
    remedy: str | None = None


def check(
    evidence: Mapping[str, object], frameworks: Iterable[Framework], aware_at: datetime, now: datetime
) -> tuple[Checked, ...]:
    """Every rule of the frameworks, in their order. `aware_at`: when we knew of the incident."""
    wanted = frozenset(frameworks)
    return tuple(_checked(rule, evidence, aware_at, now) for rule in RULES if rule.framework in wanted)


def overall(results: Iterable[Checked]) -> Verdict:
    """A violation anywhere is one; compliant only where every rule is."""
    verdicts = {one.verdict for one in results}
    if Verdict.VIOLATION in verdicts:
        return Verdict.VIOLATION
    return Verdict.COMPLIANT if verdicts == {Verdict.COMPLIANT} else Verdict.UNKNOWN


def truth(said: object) -> bool | None:
    """Yes, no, or nothing that can be read as either."""
    word = str(said).strip().lower()
    return True if word in YES else False if word in NO else None


def _checked(rule: Rule, evidence: Mapping[str, object], aware_at: datetime, now: datetime) -> Checked:
    used = {name: str(evidence[name])[:200] for name in (rule.about, rule.proof) if name and name in evidence}

    def verdict(found: Verdict, reason: str, *missing: str) -> Checked:
        remedy = rule.remedy if found == Verdict.VIOLATION else None
        return Checked(
            rule=rule.id, framework=rule.framework, title=rule.title, severity=rule.severity, verdict=found,
            reason=reason, evidence=used, missing=missing, remedy=remedy,
        )  # fmt: skip

    if rule.about is not None:
        applies = truth(evidence.get(rule.about))
        if applies is None:
            return verdict(Verdict.UNKNOWN, f"nobody says whether {rule.about} is true", rule.about)
        if not applies:
            return verdict(Verdict.COMPLIANT, f"{rule.about} is false: the rule doesn't apply")
    if rule.proof == "notification_sent":
        found, reason, missing, sent_at = _notified(evidence, aware_at + NOTIFIED_WITHIN, now)
        if sent_at:
            used["notification_sent_at"] = sent_at
        return verdict(found, reason, *missing)
    proved = truth(evidence.get(rule.proof))
    if proved is None:
        return verdict(Verdict.UNKNOWN, f"nobody says whether {rule.proof} is true", rule.proof)
    return verdict(Verdict.COMPLIANT if proved else Verdict.VIOLATION, f"{rule.proof} is {str(proved).lower()}")


def _notified(
    evidence: Mapping[str, object], due: datetime, now: datetime
) -> tuple[Verdict, str, tuple[str, ...], str | None]:
    """Verdict, reason, what is missing, and the moment that was found."""
    sent, by = truth(evidence.get("notification_sent")), f"due by {due:%F %R} UTC"
    said = evidence.get("notification_sent_at")
    at = _moment(said)
    if at is not None and sent is not False and at <= now:
        verdict = Verdict.COMPLIANT if at <= due else Verdict.VIOLATION
        return verdict, f"sent {at:%F %R}, {by}", (), str(said)[:200]
    if sent and now <= due:
        return Verdict.COMPLIANT, f"sent, {by}", (), None
    if sent:
        return Verdict.UNKNOWN, f"sent, nobody says when; {by}", ("notification_sent_at",), None
    if sent is False and now > due:
        return Verdict.VIOLATION, f"not sent, {by}", (), None
    waiting = "not sent yet" if sent is False else "nobody says whether it was sent"
    return Verdict.UNKNOWN, f"{waiting}, {by}", ("notification_sent",), None


def _moment(said: object) -> datetime | None:
    """An ISO 8601 moment with its offset; None for anything else."""
    try:
        at = said if isinstance(said, datetime) else datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
