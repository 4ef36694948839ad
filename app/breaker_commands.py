"""`llm-im breakers …`: circuit breakers looked at, opened and closed from a terminal."""

from typing import Annotated, Any

import typer

from app.client import plain
from app.remote import ENDPOINT, ApiKey, AsJson, Endpoint, show, talking

AT = ("api", "v1", "circuit-breakers")
COMMANDS = ("list", "open", "close", "reset")

app = typer.Typer(no_args_is_help=True, help="Circuit breakers: who is not asked at present.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="As listed, like slack or webhook:example.com~1a2b3c4d.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; shown beside the breaker.")]


@app.command("list")
def list_breakers(endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False) -> None:
    """All of them, those that are not closed first."""
    with talking(endpoint, api_key) as client:
        found = client.request("GET", *AT)
        ordered = sorted(found["circuit_breakers"], key=lambda one: one["state"] == "closed")
        show(found, as_json, "\n".join(map(_line, ordered)))


@app.command("open")
def open_breaker(
    name: Name, reason: Reason = None, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False
) -> None:
    """Ask nobody behind it until it is closed by hand. Pages through it wait as well."""
    _turn("open", name, reason, endpoint, api_key, as_json)


@app.command("close")
def close_breaker(
    name: Name, reason: Reason = None, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False
) -> None:
    """Ask again, until too many fail."""
    _turn("close", name, reason, endpoint, api_key, as_json)


@app.command("reset")
def reset_breaker(
    name: Name, reason: Reason = None, endpoint: Endpoint = ENDPOINT, api_key: ApiKey = "", as_json: AsJson = False
) -> None:
    """As if it were new: closed, and what it has counted forgotten."""
    _turn("reset", name, reason, endpoint, api_key, as_json)


def _turn(how: str, name: str, reason: str | None, endpoint: str, api_key: str, as_json: bool) -> None:
    with talking(endpoint, api_key) as client:
        found = client.request("POST", *AT, name, how, body={"reason": reason})
        show(found, as_json, _line(found))


def _line(one: dict[str, Any]) -> str:
    """The breaker in one line."""
    why = f" by {one['by']}" if one["by"] else ""
    until = f" until {one['until']}" if one["until"] else ""
    reason = f": {one['reason']}" if one["reason"] else ""
    calls = f"{one['total_requests']:>7} calls  {one['error_rate']:>5.1f} % failed"
    return plain(f"{one['name']:<32}  {one['state']:<9}  {calls}{until}{why}{reason}")
