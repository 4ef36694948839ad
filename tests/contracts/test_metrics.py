"""What Prometheus is told, by one process and by two that share their figures."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from app.telemetry import metrics

WORKER = """
import sys
from app.telemetry import metrics
server = metrics.serve("127.0.0.1", 0)
print(server.server_port, flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Process:
    """A process of the service that does what it is told and serves its metrics."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self.running = running
        assert running.stdout is not None
        self.url = f"http://127.0.0.1:{int(running.stdout.readline())}/metrics"

    def does(self, statement: str) -> None:
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(statement + "\n")
        self.running.stdin.flush()
        assert self.running.stdout.readline() == "done\n"

    def shows(self, name: str, **labels: str) -> float | None:
        with urlopen(self.url, timeout=10) as answer:  # noqa: S310
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            return value(answer.read().decode(), name, labels)


def value(text: str, name: str, labels: dict[str, str]) -> float | None:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    assert len(found) <= 1
    return found[0] if found else None


@contextmanager
def process(shared: Path | None) -> Iterator[Process]:
    environ = {name: text for name, text in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    if shared:
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield Process(running)
        finally:
            running.kill()


SENT = "incident_manager_notifications_sent_total"
ACCEPTED = "incident_manager_alerts_processed_total"


def test_two_processes_that_share_a_directory_are_one_service(tmp_path: Path) -> None:
    metrics.prepare(tmp_path / "metrics")
    with process(tmp_path / "metrics") as gateway, process(tmp_path / "metrics") as worker:
        gateway.does("metrics.ALERTS_PROCESSED.labels('api', 'created').inc(3)")
        gateway.does("metrics.NOTIFICATIONS_SENT.labels('email').inc()")
        worker.does("metrics.NOTIFICATIONS_SENT.labels('email').inc(2)")
        gateway.does("metrics.PROCESSING.observe(0.004)")
        gateway.does("metrics.OUTBOX_PENDING.set(5)")
        for side in (gateway, worker):
            assert side.shows(ACCEPTED, source="api", result="created") == 3
            assert side.shows(SENT, channel="email") == 3
            assert side.shows("incident_manager_processing_duration_seconds_bucket", le="0.005") == 1
            assert side.shows("incident_manager_outbox_pending") == 5


def test_a_killed_worker_takes_nothing_out_of_the_counters(tmp_path: Path) -> None:
    with process(tmp_path) as gateway:
        with process(tmp_path) as worker:
            worker.does("metrics.NOTIFICATIONS_SENT.labels('webhook').inc(2)")
        gateway.does("metrics.OUTBOX_PENDING.set(7)")
        with process(tmp_path) as successor:
            successor.does("metrics.NOTIFICATIONS_SENT.labels('webhook').inc()")
            assert gateway.shows(SENT, channel="webhook") == 3
            assert successor.shows("incident_manager_outbox_pending") == 7


def test_a_new_run_starts_from_zero(tmp_path: Path) -> None:
    with process(tmp_path) as gateway:
        gateway.does("metrics.NOTIFICATIONS_SENT.labels('webhook').inc(2)")
    metrics.prepare(tmp_path)
    with process(tmp_path) as gateway:
        assert gateway.shows(SENT, channel="webhook") == 0


def test_without_a_directory_each_process_shows_its_own() -> None:
    with process(None) as gateway, process(None) as worker:
        gateway.does("metrics.ALERTS_PROCESSED.labels('api', 'created').inc(3)")
        assert gateway.shows(ACCEPTED, source="api", result="created") == 3
        assert worker.shows(ACCEPTED, source="api", result="created") is None


def test_the_names_dashboards_rely_on_are_there_before_anything_happened() -> None:
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    named = {line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")}
    core = (
        "alerts_processed_total incidents_created_total incidents_resolved_total escalations_triggered_total "
        "notifications_sent_total notifications_failed_total deduplication_hits_total processing_duration_seconds "
        "notification_delivery_duration_seconds unreachable_targets_total outbox_oldest_seconds outbox_pending"
    )
    assert named >= {f"incident_manager_{name}" for name in core.split()}
    for door in ("http", "grpc"):
        assert named >= {
            f"llm_incident_manager_{door}_{name}" for name in ("requests_total", "request_duration_seconds")
        }
    assert "llm_incident_manager_grpc_streams_active" in named
    assert named >= {
        f"llm_incident_manager_playbook_{name}"
        for name in ("executions_total", "execution_duration_seconds", "executions_active")
    }
    assert value(body.decode(), "incident_manager_incidents_created_total", {"severity": "P0"}) is not None


def test_a_label_cannot_grow() -> None:
    assert metrics.one_of(metrics.SOURCES, "alertmanager") == "alertmanager"
    assert metrics.one_of(metrics.SOURCES, "made up by a sender") == "other"
    assert [metrics.one_of(metrics.LEVELS, level) for level in (1, 10, 11)] == ["1", "10", "other"]
