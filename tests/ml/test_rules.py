from pathlib import Path

import pytest

from app.domain.vocabulary import Severity
from app.ml.features import Origin
from app.ml.rules import FILE_BYTES_MAX, read_rules

PROMETHEUS = """
groups:
  - name: api
    rules:
      - {record: job:errors, expr: sum(errors)}
      - alert: ApiDown
        expr: up{job="api"} == 0
        for: 5m
        labels: {severity: critical, service: api}
        annotations: {summary: The API is down, description: Nothing answers}
      - alert: ApiSlow
        expr: latency > 2
        labels: {severity: warning}
      - {alert: NoSeverity, expr: vector(1)}
      - {alert: Strange, expr: vector(1), labels: {severity: purple}}
"""
SIGMA = """
title: Suspicious Process
description: Somebody starts mimikatz
logsource: {product: windows, category: process_creation}
tags: [attack.credential_access]
level: high
"""
RESOURCE = """
kind: PrometheusRule
spec:
  groups:
    - rules:
        - {alert: InAResource, expr: vector(1), labels: {severity: info}}
"""


def test_prometheus_and_sigma_rules_become_labels(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "api.yaml").write_text(PROMETHEUS)
    (tmp_path / "deep" / "sigma.yml").write_text(SIGMA)
    (tmp_path / "deep" / "resource.yaml").write_text(f"---\n{RESOURCE}\n---\n- a list\n")
    (tmp_path / "notes.txt").write_text("not read")
    read = read_rules(tmp_path)
    assert read.skipped == ()
    assert [(one.example.title, one.severity, one.path) for one in read.labelled] == [
        ("ApiDown", Severity.P0, "api.yaml"),
        ("ApiSlow", Severity.P2, "api.yaml"),
        ("InAResource", Severity.P4, "deep/resource.yaml"),
        ("Suspicious Process", Severity.P1, "deep/sigma.yml"),
    ]
    assert {one.origin for one in read.labelled} == {Origin.RULES}
    down, sigma = read.labelled[0].example, read.labelled[3].example
    assert (down.description, down.service, down.source) == ("Nothing answers The API is down", ("api",), "prometheus")
    assert sigma.labels == {"product": "windows", "category": "process_creation", "tags": "attack.credential_access"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"groups: [", "while parsing"),
        (b"\xff\xfe\x00", "decode"),
        (b"a: &a [1]\nb: *a\n", "aliases are not read"),
        (b"[" * 200_000, "nested more than"),
        (b"groups: 5\n", "no alerting or Sigma rule"),
        (b"groups: [{rules: [{alert: A, labels: [severity]}]}, 7]\n", "no alerting or Sigma rule"),
        (b"!!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        (b"", "no alerting or Sigma rule"),
        (b"#" * (FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_still_count(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "bad.yaml").write_bytes(text)
    (tmp_path / "good.yaml").write_text(SIGMA)
    read = read_rules(tmp_path)
    assert [skipped.path for skipped in read.skipped] == ["bad.yaml"]
    assert said in read.skipped[0].reason
    assert len(read.labelled) == 1


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(SIGMA)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    assert read_rules(tmp_path / "rules").labelled == ()


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="absent is not a directory"):
        read_rules(tmp_path / "absent")
