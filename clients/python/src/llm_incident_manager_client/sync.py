"""The same client for programs without an event loop: it has one of its own, in a thread."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from llm_incident_manager_client.client import IncidentManagerClient

P = ParamSpec("P")
T = TypeVar("T")
Client = IncidentManagerClient
OVER: Any = object()


class Loop:
    """An event loop in a thread, which ends with the program at the latest."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="incident-manager-client", daemon=True)
        self._thread.start()

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """What the story comes to. Given up when the caller is interrupted. Raises: RuntimeError after the end."""
        if self._loop.is_closed():
            story.close()
            raise RuntimeError("The client has disconnected.")
        running = asyncio.run_coroutine_threadsafe(story, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def end(self, last: Coroutine[Any, Any, None]) -> None:
        """Whatever still runs is given up after the last story. Ending twice is ending once."""
        if self._loop.is_closed():
            last.close()
            return
        self.run(last)
        self.run(_given_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _given_up() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def waiting(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncIncidentManagerClient", P], T]:
    """A method that returns when the client's has."""

    def call(self: "SyncIncidentManagerClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._client, *args, **kwargs))

    return _documented(call, method)


def iterating(
    method: Callable[Concatenate[Client, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["SyncIncidentManagerClient", P], Iterator[T]]:
    """A method that gives what the client's gives, one after the other."""

    def iterate(self: "SyncIncidentManagerClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        found = method(self._client, *args, **kwargs)
        self._begun.add(found)
        try:
            while (item := self._loop.run(_next(found))) is not OVER:
                yield item
        except GeneratorExit:
            if found in self._begun:
                self._loop.run(found.aclose())
            raise
        finally:
            self._begun.discard(found)

    return _documented(iterate, method)


async def _closed(found: AsyncGenerator[Any, None]) -> None:
    with suppress(RuntimeError):  # somebody waits for its next: that is given up with the loop
        await found.aclose()


async def _next(found: AsyncGenerator[T, None]) -> T:
    return await anext(found, OVER)


def _documented(call: T, method: Callable[..., Any]) -> T:
    for name in ("__name__", "__doc__"):
        setattr(call, name, getattr(method, name))
    return call


class SyncIncidentManagerClient:
    """`IncidentManagerClient` for programs without an event loop: the same methods, which block, and iterators.

    Threads may share one. A process that forks makes its own after the fork.
    """

    def __init__(
        self,
        endpoint: str = "http://localhost:8080",
        *,
        api_key: str | None = None,
        timeout_secs: float = 35,
        retry_for_secs: float = 60,
        ping_secs: float = 5,
    ) -> None:
        self._client = IncidentManagerClient(
            endpoint, api_key=api_key, timeout_secs=timeout_secs, retry_for_secs=retry_for_secs, ping_secs=ping_secs
        )
        self._loop = Loop()
        self._begun: set[AsyncGenerator[Any, None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Close every connection; iterators end."""
        while self._begun:
            self._loop.run(_closed(self._begun.pop()))
        self._loop.end(self._client.disconnect())

    request = waiting(Client.request)

    submit_alert = waiting(Client.submit_alert)
    submit_alerts = waiting(Client.submit_alerts)
    create_incident = waiting(Client.create_incident)
    submit_event = waiting(Client.submit_event)

    get = waiting(Client.get)
    list = waiting(Client.list)
    iterate = iterating(Client.iterate)
    timeline = waiting(Client.timeline)
    comments = waiting(Client.comments)
    notifications = waiting(Client.notifications)
    alerts_of = waiting(Client.alerts_of)
    list_events = waiting(Client.list_events)
    get_event = waiting(Client.get_event)

    acknowledge = waiting(Client.acknowledge)
    resolve = waiting(Client.resolve)
    close = waiting(Client.close)
    reopen = waiting(Client.reopen)
    escalate = waiting(Client.escalate)
    assign = waiting(Client.assign)
    comment = waiting(Client.comment)
    update = waiting(Client.update)
    pause = waiting(Client.pause)
    resume = waiting(Client.resume)
    snooze = waiting(Client.snooze)

    health = waiting(Client.health)
    lint = waiting(Client.lint)
    simulate = waiting(Client.simulate)
    teach = waiting(Client.teach)
    retrain = waiting(Client.retrain)
    documents = waiting(Client.documents)
    document = waiting(Client.document)
    document_versions = waiting(Client.document_versions)
    put_document = waiting(Client.put_document)
    delete_document = waiting(Client.delete_document)

    validate_playbook = waiting(Client.validate_playbook)
    execute_playbook = waiting(Client.execute_playbook)
    playbook_run = waiting(Client.playbook_run)
    playbook_runs = waiting(Client.playbook_runs)
    playbook_log = waiting(Client.playbook_log)
    approve_run = waiting(Client.approve_run)
    reject_run = waiting(Client.reject_run)
    cancel_run = waiting(Client.cancel_run)
    retry_run = waiting(Client.retry_run)

    cursor = waiting(Client.cursor)
    events = iterating(Client.events)
    critical_incidents = iterating(Client.critical_incidents)
    new_incidents = iterating(Client.new_incidents)
    incident_updates = iterating(Client.incident_updates)
    state_changes = iterating(Client.state_changes)
    alerts = iterating(Client.alerts)
    subscribe = iterating(Client.subscribe)
