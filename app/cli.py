"""The commands `llm-im` and `llm-incident-manager`. Everything that takes long to load is loaded by its command."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app import breaker_commands, bundle_commands, playbook_commands
from app.client import Failed, assumption, card, diagnosis, happening, lessons, plain, table, timeline
from app.remote import ENDPOINT, ApiKey, AsJson, Endpoint, refusals, show, talking

if TYPE_CHECKING:
    from app.config import Settings
    from llm_incident_manager_client import Incident

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Durable incident management: run the service, and talk to it.",
)  # fmt: skip
key = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")
app.add_typer(key, name="key")
app.add_typer(playbook_commands.app, name="playbook")
app.add_typer(bundle_commands.app, name="bundle")
app.add_typer(breaker_commands.app, name="breakers")

IncidentId = Annotated[str, typer.Argument(metavar="ID", help="The incident's id.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does it; the API key's name counts for more.")]
Notes = Annotated[str | None, typer.Option("--notes", "-n", help="Why; goes to the timeline.")]


def main() -> None:
    app()


def server() -> None:
    """`llm-incident-manager`: the gateway, configured by the environment."""
    typer.run(serve)


@app.callback()
def defaults(
    context: typer.Context,
    endpoint: Annotated[str, typer.Option("--endpoint", "-e", envvar="LLM_IM_ENDPOINT")] = ENDPOINT,
    api_key: Annotated[str, typer.Option("--api-key", envvar="LLM_IM_API_KEY")] = "",
) -> None:
    given = {"endpoint": endpoint, "api_key": api_key}
    commands = ("alert", "list", "get", "ack", "resolve", "watch", "simulate", "train", "doctor", "health")
    playbooks = dict.fromkeys(playbook_commands.names(), given)
    bundles = {"install": given}
    breakers = dict.fromkeys(breaker_commands.COMMANDS, given)
    context.default_map = {
        **dict.fromkeys(commands, given), "playbook": playbooks, "bundle": bundles, "breakers": breakers,
    }  # fmt: skip


@app.command()
def up() -> None:
    """Run everything on this machine: PostgreSQL, Temporal, worker and gateway. Ctrl-C ends it."""
    import asyncio

    from app.up import up as everything

    with refusals():
        raise typer.Exit(asyncio.run(everything(_settings(), lambda line: print(line, flush=True))))


@app.command()
def serve() -> None:
    """Run the gateway."""
    with refusals():
        settings = _logged()
        from app.api.grpc.tls import refuse_older_tls

        refuse_older_tls(settings.server.grpc_tls_cert_path)
        from app.api.http import serve as gateway
        from app.listeners import inherited

        _run(gateway(settings, inherited(os.environ)))


@app.command()
def worker() -> None:
    """Run the worker, which carries out the incidents' workflows."""
    with refusals():
        settings = _logged()
        from workers.main import run

        _run(run(settings))


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    with refusals():
        settings = _located()
        from app.runtime import at_rest, database_url
        from app.service.defaults import install
        from app.store.migrate import upgrade

        upgrade(database_url(settings))

        async def furnished() -> None:
            async with at_rest(settings) as services:
                for written in await install(services.documents, settings.documents_directory):
                    print(f"first start: {written}")

        _run(furnished())


@key.command()
def create(
    name: Annotated[str, typer.Option(help="Whom or what it is for: the actor on the timeline.")],
    role: Annotated[str, typer.Option(help="ingest, viewer, responder or admin.")],
) -> None:
    """Create a key and print it. It is shown this once."""
    with refusals():
        settings = _located()
        from app.domain.vocabulary import Role
        from app.runtime import at_rest

        if role not in list(Role):
            raise Failed(f"role {role!r}: must be one of {', '.join(Role)}")

        async def created() -> None:
            async with at_rest(settings) as served:
                print(await served.keys.create(name, Role(role)))

        _run(created())


@key.command("list")
def list_keys() -> None:
    """Every key there ever was."""
    with refusals():
        settings = _located()
        from app.runtime import at_rest

        async def listed() -> None:
            async with at_rest(settings) as served:
                for one in await served.keys.list():
                    state = f"revoked {one.revoked_at:%Y-%m-%d %H:%M}" if one.revoked_at else "valid"
                    print(f"{one.id}  {one.role:<9}  {one.created_at:%Y-%m-%d %H:%M}  {state:<24}  {plain(one.name)}")

        _run(listed())


@key.command()
def revoke(id_or_name: Annotated[str, typer.Argument(metavar="ID|NAME")]) -> None:
    """Make a key worthless, at once."""
    with refusals():
        settings = _located()
        from app.runtime import at_rest

        async def revoked() -> None:
            async with at_rest(settings) as served:
                await served.keys.revoke(id_or_name)

        _run(revoked())


@app.command()
def alert(
    source: Annotated[str, typer.Option("--source", "-s", help="Who reports it.")],
    title: Annotated[str, typer.Option("--title", "-t", help="What is wrong, in one line.")],
    description: Annotated[str, typer.Option("--description", "-d")] = "",
    severity: Annotated[str, typer.Option("--severity", "-S", help="P0 (worst) to P4.")] = "P2",
    alert_type: Annotated[str, typer.Option("--type", "-T", help="Infrastructure, Application, …")] = "Application",
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Send an alert."""
    with talking(endpoint, api_key) as client:
        told = client.submit_alert(
            source=source, title=title, description=description, severity=severity, alert_type=alert_type
        )
        show(told.raw, as_json, f"{told.status}: incident {told.incident_id} ({told.outcome})")


@app.command("list")
def list_incidents(
    status: Annotated[str | None, typer.Option(help="Only these, comma-separated.")] = None,
    severity: Annotated[str | None, typer.Option(help="Only these, comma-separated.")] = None,
    search: Annotated[str | None, typer.Option(help="Words to look for.")] = None,
    page: int = 1,
    page_size: int = 50,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """List incidents, the newest first."""
    filters: Any = {"status": status, "severity": severity, "search": search}
    with talking(endpoint, api_key) as client:
        given = {name: value for name, value in filters.items() if value}
        found = client.list(page=page, page_size=page_size, **given)
        show(found.raw, as_json, table(found.raw["incidents"], found.total))


@app.command()
def get(incident_id: IncidentId, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """Show one incident."""
    with talking(endpoint, api_key) as client:
        incident = client.get(incident_id)
        show(incident.raw, as_json, card(incident.raw))


@app.command()
def ack(
    incident_id: IncidentId, actor: Actor = None, notes: Notes = None,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take an incident: nobody else is paged for it."""
    with talking(endpoint, api_key) as client:
        _changed(client.acknowledge(incident_id, actor=actor, notes=notes), as_json)


@app.command()
def resolve(
    incident_id: IncidentId, actor: Actor = None, notes: Notes = None,
    root_cause: Annotated[str | None, typer.Option("--root-cause")] = None,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say that an incident is over."""
    with talking(endpoint, api_key) as client:
        resolved = client.resolve(incident_id, actor=actor, notes=notes, root_cause=root_cause, method="Manual")
        _changed(resolved, as_json)


@app.command()
def watch(
    severity: Annotated[str | None, typer.Option("--severity", "-S", help="Only these, comma-separated.")] = None,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
) -> None:  # fmt: skip
    """What happens to incidents, as it happens, a line each; after a break what was missed. Ctrl-C ends it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    which: Any = {"severity": severity.split(",")} if severity else {}
    with talking(endpoint, api_key) as client, contextlib.suppress(KeyboardInterrupt):
        for event in client.events(**which):
            print(json.dumps(event.raw, ensure_ascii=False) if as_json else happening(event.raw), flush=True)


@app.command()
def simulate(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="The escalation policy's id.")],
    severity: Annotated[str, typer.Option("--severity", "-S", help="P0 (worst) to P4.")] = "P2",
    at: Annotated[str | None, typer.Option(help="The moment of the first alert, like 2026-12-24T03:00:00Z.")] = None,
    source: Annotated[str, typer.Option("--source", "-s", help="Who reports it.")] = "",
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", help="SECONDS:DEED or SECONDS:DEED=WHO, like 120:ack=alice or 0:channel_fails=slack."),
    ] = None,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Play a policy through: who would be told what, when and through what. Nobody is told anything."""
    with talking(endpoint, api_key) as client:
        told = client.simulate(
            policy, severity=severity, at=at, incident={"source": source},
            assume=[assumption(said) for said in assume or []],
        )  # fmt: skip
        show(told.raw, as_json, timeline(told.raw))


@app.command()
def train(
    directory: Annotated[Path, typer.Option("--from", metavar="DIR", help="Where the rule files are.")],
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Teach the model from rule files that you trust (Prometheus, Sigma): their severities; then train."""
    with talking(endpoint, api_key) as client:
        if not directory.is_dir():
            raise Failed(f"{directory} is no directory")
        from app.ml.rules import read_rules

        rules = read_rules(directory)
        for skipped in rules.skipped:
            print(plain(f"not read: {skipped.path}: {skipped.reason}"), file=sys.stderr)
        if not rules.labelled:
            raise Failed(f"{directory} holds no rule with a severity")
        count = sum(client.teach(some) for some in lessons(rules.labelled))
        told = {"labels": count, "not_read": len(rules.skipped), **client.retrain()}
        show(told, as_json, f"{count} rules taught; training {told['run_id']} makes a model of them")


@app.command()
def health(endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """Ask how the server is. Fails unless it is healthy."""
    with talking(endpoint, api_key) as client:
        found = client.health()
        parts = [f"{part}: {found.failing.get(part, state)}" for part, state in found.components.items()]
        show(found.raw, as_json, "\n".join([f"{found.status} (version {found.version})", *map(plain, parts)]))
        raise typer.Exit(0 if found.status == "healthy" else 1)


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Try no connections.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Is everything ready for the night? Fails when something is wrong."""
    with talking(endpoint, api_key) as client:
        found = client.lint(reach=not offline)
        show(found.raw, as_json, diagnosis(found.raw))
        raise typer.Exit(1 if found.errors or (strict and found.warnings) else 0)


def _changed(incident: "Incident", as_json: bool) -> None:
    show(incident.raw, as_json, f"{incident.id} is {incident.status}: {plain(incident.title)}")


def _settings() -> "Settings":
    from app.environment import BadSettings, load

    try:
        return load(os.environ)
    except BadSettings as wrong:
        print(wrong, file=sys.stderr)
        raise typer.Exit(2) from wrong


def _located() -> "Settings":
    from app.up import located

    return located(_settings())


def _logged() -> "Settings":
    from app.telemetry import logs

    settings = _located()
    how = settings.observability
    logs.configure(how.log_level, how.json_logs, how.service_name)
    if unused := settings.unused():
        logging.getLogger(__name__).warning("set, but without effect yet: %s", ", ".join(unused))
    return settings


def _run(story: Coroutine[Any, Any, None]) -> NoReturn:
    """Runs to the end, then leaves without the interpreter's clean-up: Temporal's core may abort in it."""
    import uvloop

    code = 1
    try:
        with refusals():
            uvloop.run(story)
        code = 0
    except typer.Exit as left:
        code = left.exit_code
    except Exception:
        logging.getLogger(__name__).exception("ended by an error")
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
