"""What commands that ask a server have in common: where it is, and how its answers and refusals are shown."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.client import Failed

if TYPE_CHECKING:
    from llm_incident_manager_client import SyncIncidentManagerClient

ENDPOINT = "http://localhost:8080"
RETRY_FOR_SECS = 2
"""A restart is waited for; who sits at a terminal is soon told that nobody is there (chosen)."""

Endpoint = Annotated[str, typer.Option("--endpoint", "-e", help="The server's address.")]
ApiKey = Annotated[str, typer.Option("--api-key", help="Sent as X-API-Key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's answer as JSON.")]


@contextlib.contextmanager
def talking(
    endpoint: str, api_key: str, retry_for_secs: float = RETRY_FOR_SECS
) -> "Iterator[SyncIncidentManagerClient]":
    """A client of the server; what it refuses is said in one message."""
    from llm_incident_manager_client import IncidentManagerError, SyncIncidentManagerClient

    with refusals():
        try:
            with SyncIncidentManagerClient(endpoint, api_key=api_key, retry_for_secs=retry_for_secs) as client:
                yield client
        except IncidentManagerError as no:
            raise Failed(str(no)) from no


def show(answer: object, as_json: bool, text: str) -> None:
    print(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else text)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """What cannot be done is one message on stderr and exit code 1, not a traceback."""
    from app.child import CannotStart
    from app.domain.errors import Refused

    try:
        yield
    except (Failed, CannotStart, Refused, OSError) as no:
        print(f"error: {no}", file=sys.stderr)
        raise typer.Exit(1) from no
