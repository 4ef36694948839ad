"""`llm-im playbook …`: playbooks written, begun, watched, decided about and ended from a terminal."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.client import Failed, plain
from app.remote import ENDPOINT, ApiKey, AsJson, Endpoint, show, talking

if TYPE_CHECKING:
    from llm_incident_manager_client import LogLine, Run, SyncIncidentManagerClient

LOOKS_EVERY_SECS = 0.5
WATCHED_OVER_SECS = 60.0
"""Who watches waits out a restart of the server."""
CODES = {"completed": 0, "failed": 1, "cancelled": 2}
GIVEN_UP = 130
"""As shells have it for Ctrl-C."""

app = typer.Typer(no_args_is_help=True, help="Playbooks: what is done about incidents, step by step.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON.")]
Comment = Annotated[str, typer.Option("--comment", help="Why; goes to the run's log.")]


def names() -> list[str]:
    """What the commands are called."""
    return [one.name or one.callback.__name__ for one in app.registered_commands if one.callback is not None]


@app.command("list")
def list_playbooks(endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """All playbooks."""
    with talking(endpoint, api_key) as client:
        found = [one.raw for one in client.documents("playbooks")]
        lines = [
            f"{one['id']:<30}  {'on ' if one.get('enabled', True) else 'off'}  {len(one['steps']):>3} steps  "
            f"{plain(one['name'])}"
            for one in found
        ]
        show(found, as_json, "\n".join(lines) or "No playbooks.")


@app.command("show")
def show_playbook(playbook: str, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """One playbook as it is kept, as YAML that `apply` takes."""
    import yaml

    with talking(endpoint, api_key) as client:
        kept = client.document("playbooks", playbook).raw
        body = {name: value for name, value in kept.items() if name not in ("version", "updated_at", "updated_by")}
        show(kept, as_json, yaml.safe_dump(body, sort_keys=False, allow_unicode=True).rstrip())


@app.command()
def validate(file: File, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """Would the server take this playbook? Says what is wrong with it, and where. Nothing is kept."""
    with talking(endpoint, api_key) as client:
        whole = client.validate_playbook(written(file))
        show(whole, as_json, f"{file} is right: {len(whole['steps'])} steps")


@app.command("apply")
def apply_playbook(file: File, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """Create the playbook of a file, or replace it. Its id is the file's `id`, else the file's name."""
    with talking(endpoint, api_key) as client:
        body = written(file)
        kept = client.put_document("playbooks", str(body.get("id", file.stem)), body)
        show(kept.raw, as_json, f"{kept.id} is kept, version {kept.version}")


@app.command()
def run(
    playbook: str, incident: str,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and do nothing.")] = False,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "",
) -> None:  # fmt: skip
    """Begin a playbook on an incident, and watch it to its end: exit code 0 completed, 1 failed, 2 cancelled."""
    with talking(endpoint, api_key, WATCHED_OVER_SECS) as client:
        begun = client.execute_playbook(playbook, incident, dry_run=dry_run)
        print(f"run {begun.id}", flush=True)
        _watched(client, begun.id)


@app.command()
def watch(run_id: RunId, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "") -> None:
    """Watch a run to its end, from its beginning: exit code 0 completed, 1 failed, 2 cancelled."""
    with talking(endpoint, api_key, WATCHED_OVER_SECS) as client:
        _watched(client, run_id)


@app.command()
def runs(
    playbook: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    incident: Annotated[str | None, typer.Option(help="Only on this one.")] = None,
    status: Annotated[str | None, typer.Option(help="Only these, comma-separated, like running,waiting.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 50,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Runs, the newest first."""
    which = status.split(",") if status else ()
    with talking(endpoint, api_key) as client:
        found = client.playbook_runs(playbook_id=playbook, incident_id=incident, status=which, limit=limit)
        lines = [
            f"{one.id}  {one.status:<9}  {one.created_at:%Y-%m-%d %H:%M:%S}Z  {plain(one.playbook_id)} on "
            f"{one.incident_id}, {plain(one.cause)} by {plain(one.started_by)}{' (dry run)' if one.dry_run else ''}"
            for one in found
        ]
        show([one.raw for one in found], as_json, "\n".join(lines) or "No runs.")


@app.command()
def approve(
    run_id: RunId, comment: Comment = "",
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Agree to what a run waits for."""
    with talking(endpoint, api_key) as client:
        _standing(client.approve_run(run_id, comment=comment), as_json)


@app.command()
def reject(
    run_id: RunId, comment: Comment = "",
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Refuse what a run waits for: the step fails."""
    with talking(endpoint, api_key) as client:
        _standing(client.reject_run(run_id, comment=comment), as_json)


@app.command()
def cancel(
    run_id: RunId, undo: Annotated[bool, typer.Option("--undo", help="Take back what was done.")] = False,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """End a run."""
    with talking(endpoint, api_key) as client:
        _standing(client.cancel_run(run_id, undo=undo), as_json)


@app.command()
def retry(
    run_id: RunId,
    from_step: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Left out: the first step that failed.")
    ] = None,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """A new run of what was left of an older one, with what its earlier steps gave."""
    with talking(endpoint, api_key) as client:
        _standing(client.retry_run(run_id, from_step=from_step), as_json)


def written(file: Path) -> dict[str, Any]:
    """What a file of YAML or JSON holds. Raises: Failed, OSError."""
    import yaml

    try:
        body = json.loads(json.dumps(yaml.safe_load(file.read_text("utf-8")), default=str))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as no:
        raise Failed(f"{file} is neither YAML nor JSON: {plain(no)}") from no
    if not isinstance(body, dict):
        raise Failed(f"{file} holds no playbook: it must be an object with name and steps")
    return body


def _watched(client: "SyncIncidentManagerClient", run_id: str) -> None:
    """A line whenever a step changes or says something, until the run is over. Raises: typer.Exit with its code."""
    told: dict[str, str] = {}
    seq = 0
    try:
        while True:
            at = client.playbook_run(run_id)
            while lines := client.playbook_log(run_id, after=seq):
                seq = lines[-1].seq
                for line in lines:
                    print(_spoken(line), flush=True)
            for name, said in changes(at).items():
                if told.get(name) != said:
                    told[name] = said
                    print(f"          {name:<20}  {said}", flush=True)
            if at.over:
                raise typer.Exit(CODES.get(at.status, 1))
            time.sleep(LOOKS_EVERY_SECS)
    except KeyboardInterrupt:
        print(f"it goes on: llm-im playbook watch {run_id}", flush=True)
        raise typer.Exit(GIVEN_UP) from None


def changes(at: "Run") -> dict[str, str]:
    """What can be said of a run: of each step, and of `run` as a whole."""
    said = {
        plain(step.step_id): f"{step.status}{f', try {step.attempts}' if step.attempts > 1 else ''}"
        + (f": {plain(step.error)}" if step.error else "")
        for step in at.steps
    }
    waits = ""
    if at.deciding is not None:
        asked = ", ".join(at.deciding.get("asked", ())) or "an administrator"
        waits = f" for the word of {plain(asked)}"
    return said | {"run": f"{at.status}{waits}" + (f": {plain(at.error)}" if at.error else "")}


def _spoken(line: "LogLine") -> str:
    return f"{line.at:%H:%M:%S}  {plain(line.step_id):<20}  {plain(line.text)}"


def _standing(at: "Run", as_json: bool) -> None:
    show(at.raw, as_json, f"run {at.id} of {plain(at.playbook_id)}: {changes(at)['run']}")
