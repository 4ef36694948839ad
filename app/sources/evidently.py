"""Evidently's reports, as `run.json()` has them (0.6 and later), and the test suites of before 0.5.

Source: evidently 0.7.23, run. The `value` of a metric may be a p-value, small where others are large: only the status
of a test says whether it passed. What could not be tested at all is a blind spot, until it can.
"""

from collections.abc import Iterator

from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source
from app.sources.reports import BLIND, REGRESSION, Finding, inbound, part, rows, word

BAD = frozenset({"FAIL", "WARNING"})


def read(post: Post) -> Inbound:
    """One finding for each test. Raises: Invalid."""
    tests = rows(part(post.json, "tests"))
    if not any(word(test.get("status")) for test in tests):
        raise Invalid.field("tests", "must be the tests of a run of Evidently, each with its status")
    return inbound("evidently", post, (finding for test in tests for finding in _findings(test)))


def _findings(test: dict[str, object]) -> Iterator[Finding]:
    """What a test says of its subject and, as it may be both, whether it could be made at all."""
    status = word(test.get("status")).upper()
    if status == "SKIPPED":
        return
    metric, column = word(part(test, "metric_config", "metric_id")), _column(test)
    name = word(test.get("name")) or word(test.get("id")) or "a test"
    identity = f"{metric}/{word(test.get('id'))}" if metric else f"{word(test.get('group'))}/{name}/{column}"
    drift = "drift" in f"{metric} {identity} {word(test.get('group'))}".lower()
    labels = {"test": name, "column": column, "metric": metric}
    yield Finding(
        f"{identity}/error", f"Evidently could not test: {name}", status == "ERROR", BLIND,
        description=word(test.get("description")), labels=labels,
    )  # fmt: skip
    if status != "ERROR":
        mild = status == "WARNING" or part(test, "bound_test", "test", "is_critical") is False
        yield Finding(
            identity, f"Evidently: {name}", status in BAD, "drift.data" if drift else REGRESSION,
            Severity.P4 if mild else None, word(test.get("description")), labels,
        )  # fmt: skip


def _column(test: dict[str, object]) -> str:
    of_metric, of_test = part(test, "metric_config", "params"), test.get("parameters")
    return word(part(of_metric, "column")) or word(part(of_test, "column_name"))


SAYS = Source(read)
