"""`llm-im bundle …`: ready-made documents shown and installed from a terminal."""

from typing import Annotated

import typer

from app.client import plain
from app.remote import ENDPOINT, ApiKey, AsJson, Endpoint, refusals, show, talking

app = typer.Typer(no_args_is_help=True, help="Ready-made playbooks, policies and rules: show, install.")

Name = Annotated[str, typer.Argument(metavar="BUNDLE", help="Its name: llmops.")]


@app.command("show")
def show_bundle(
    name: Name, rules: Annotated[bool, typer.Option("--rules", help="Print its rule file for Prometheus.")] = False
) -> None:
    """What is in a bundle, and which actions its playbooks need."""
    from app import bundle

    with refusals():
        if rules:
            print(bundle.rules(name), end="")
            return
        for part in bundle.parts(name):
            needs = f"  (needs {', '.join(sorted(part.needs))})" if part.needs else ""
            print(f"{part.kind:<22}  {part.id:<24}  {part.body['name']}{needs}")


@app.command()
def install(
    name: Name,
    person: Annotated[
        list[str] | None, typer.Option("--person", help="A user in its teams, instead of primary and secondary.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what somebody has changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Install a bundle. Again is harmless; fails when a document is refused."""
    from app import bundle

    with talking(endpoint, api_key) as client:
        found = bundle.for_people(bundle.parts(name), person or [])
        done = list(bundle.install(client, found, force=force, dry_run=dry_run))
        told = [{"kind": one.kind, "id": one.id, "outcome": one.outcome, "why": one.why} for one in done]
        would = {True: "would be ", False: ""}
        show(told, as_json, "\n".join(would[dry_run and one.outcome.writes] + plain(one.line) for one in done))
        raise typer.Exit(1 if any(one.outcome is bundle.Outcome.REFUSED for one in done) else 0)
