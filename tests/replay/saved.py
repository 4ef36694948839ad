"""Histories as they are kept in this folder: without the names of whoever ran them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

from tests.support.world import Story

HISTORIES = Path(__file__).with_name("histories")
PROCESS = re.compile(r"\d+@[\w.-]+")


def names() -> list[str]:
    return sorted(path.stem for path in HISTORIES.glob("*.json"))


def load(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"incident-{name}", (HISTORIES / f"{name}.json").read_text())


def save(life: str, runs: Sequence[WorkflowHistory]) -> None:
    """One file for each run of a life: `life-1.json`, `life-2.json`, …"""
    for old in HISTORIES.glob(f"{life}-*.json"):
        old.unlink()
    for number, history in enumerate(runs, 1):
        text = json.dumps(_scrubbed(history.to_json_dict()), indent=1)
        (HISTORIES / f"{life}-{number}.json").write_text(text + "\n")


async def runs(story: Story) -> list[WorkflowHistory]:
    """The histories of an incident's runs, from the first to the last."""
    found: list[WorkflowHistory] = []
    run_id = (await story.handle.describe()).run_id
    while run_id:
        handle = story.world.skipper.client.get_workflow_handle(story.handle.id, run_id=run_id)
        found.insert(0, await handle.fetch_history())
        started = found[0].events[0].workflow_execution_started_event_attributes
        run_id = started.continued_execution_run_id
    return found


def _scrubbed(value: Any) -> Any:
    """`pid@host`, the name Temporal gives a process, becomes `process`; stack traces, full of paths, are left out."""
    if isinstance(value, dict):
        return {key: _scrubbed(inner) for key, inner in value.items() if key != "stackTrace"}
    if isinstance(value, list):
        return [_scrubbed(inner) for inner in value]
    return PROCESS.sub("process", value) if isinstance(value, str) else value
