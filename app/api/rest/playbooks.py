"""Playbooks at work: tried out, begun, watched, decided about, ended."""

from fastapi import APIRouter, Request, status

from app.api.auth import Caller
from app.api.rest.documents import nameless
from app.api.rest.query import asking, query
from app.api.rest.wire import Served, accepts, read, read_json
from app.domain.playbook import Playbook
from app.domain.playing import (
    ActionView,
    CancelRun,
    Execute,
    LogQuery,
    RunList,
    RunLog,
    RunQuery,
    RunView,
    TryAgain,
    Word,
)

router = APIRouter(tags=["playbooks"])


@router.get("/playbook-actions")
async def actions(who: Caller, gateway: Served) -> list[ActionView]:
    """What steps may do here, with the schemas of their parameters."""
    return gateway.playbooks.catalogue(who)


@router.post("/playbooks/validate", openapi_extra=nameless(Playbook))
async def validate_playbook(request: Request, who: Caller, gateway: Served) -> Playbook:
    """The playbook in full, or 400 with the path of every error. Its id may be left out. Nothing is kept."""
    return gateway.playbooks.validate(who, await read_json(request))


@router.post("/playbooks/{playbook_id}/execute", status_code=status.HTTP_202_ACCEPTED, openapi_extra=accepts(Execute))
async def execute_playbook(request: Request, playbook_id: str, who: Caller, gateway: Served) -> RunView:
    """Begins a run on an incident; 409 while one of the playbook is under way there."""
    return await gateway.playbooks.execute(who, playbook_id, await read(request, Execute))


@router.get("/playbook-runs", openapi_extra=asking(RunQuery))
async def list_runs(request: Request, who: Caller, gateway: Served) -> RunList:
    """Runs, the newest first."""
    return await gateway.playbooks.list(who, query(request, RunQuery))


@router.get("/playbook-runs/{run_id}")
async def get_run(run_id: str, who: Caller, gateway: Served) -> RunView:
    """Where a run stands, step by step."""
    return await gateway.playbooks.get(who, run_id)


@router.get("/playbook-runs/{run_id}/log", openapi_extra=asking(LogQuery))
async def run_log(request: Request, run_id: str, who: Caller, gateway: Served) -> RunLog:
    """What its steps said; `after` the line that was read last."""
    asked = query(request, LogQuery)
    return RunLog(lines=await gateway.playbooks.log(who, run_id, asked.after, asked.limit))


@router.post("/playbook-runs/{run_id}/approve", openapi_extra=accepts(Word, required=False))
async def approve_run(request: Request, run_id: str, who: Caller, gateway: Served) -> RunView:
    """One's agreement to what it waits for. Saying it twice is once."""
    word = await read(request, Word)
    return await gateway.playbooks.decide(who, run_id, approve=True, comment=word.comment)


@router.post("/playbook-runs/{run_id}/reject", openapi_extra=accepts(Word, required=False))
async def reject_run(request: Request, run_id: str, who: Caller, gateway: Served) -> RunView:
    """One's refusal: the step fails."""
    word = await read(request, Word)
    return await gateway.playbooks.decide(who, run_id, approve=False, comment=word.comment)


@router.post("/playbook-runs/{run_id}/cancel", openapi_extra=accepts(CancelRun, required=False))
async def cancel_run(request: Request, run_id: str, who: Caller, gateway: Served) -> RunView:
    """Ends it, and takes back what was done if that is wanted. A run that is over stays as it is."""
    return await gateway.playbooks.cancel(who, run_id, await read(request, CancelRun))


@router.post(
    "/playbook-runs/{run_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=accepts(TryAgain, required=False),
)
async def retry_run(request: Request, run_id: str, who: Caller, gateway: Served) -> RunView:
    """A new run from a step on, with what the steps before it gave."""
    return await gateway.playbooks.try_again(who, run_id, await read(request, TryAgain))
