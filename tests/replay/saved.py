"""Histories as they are kept in this folder: without the names of whoever ran them."""

import json
import re
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

HISTORIES = Path(__file__).with_name("histories")
PROCESS = re.compile(r"\d+@[\w.-]+")


def names() -> list[str]:
    return sorted(path.stem for path in HISTORIES.glob("*.json"))


def load(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"incident-{name}", (HISTORIES / f"{name}.json").read_text())


def save(name: str, history: WorkflowHistory) -> None:
    scrubbed = _scrubbed(history.to_json_dict())
    (HISTORIES / f"{name}.json").write_text(json.dumps(scrubbed, indent=1) + "\n")


def _scrubbed(value: Any) -> Any:
    """`pid@host`, the name Temporal gives a process, becomes `process`."""
    if isinstance(value, dict):
        return {key: _scrubbed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrubbed(inner) for inner in value]
    return PROCESS.sub("process", value) if isinstance(value, str) else value
