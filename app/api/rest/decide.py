"""The page behind the link of a mail that asks for one's word on a playbook's run. Looking changes nothing."""

from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response

from app.api.auth import visitor
from app.api.limits import read_body
from app.api.rest.click import page, refused
from app.api.rest.wire import Served
from app.domain.errors import Invalid, Refused
from app.domain.playbook import Step
from app.domain.run import StepState
from app.service.clicks import Question

MOST_BYTES = 1000
WORDS = {"approve": True, "reject": False}
BUTTONS = """<form method="post"><button name="word" value="approve">Approve as {who}</button>
<button name="word" value="reject" style="background: #a02020">Reject</button></form>"""

router = APIRouter(prefix="/decide", include_in_schema=False, dependencies=[Depends(visitor)])


@router.get("/{token}")
@router.head("/{token}")
async def look(token: str, gateway: Served) -> Response:
    """What the run is about, how far it is, and two buttons while one's word is waited for."""
    try:
        return shown(await gateway.clicks.question(token))
    except Refused as refusal:
        return refused(refusal)


@router.post("/{token}")
async def say(request: Request, token: str, gateway: Served) -> Response:
    """Approves or rejects, as whom the link was made for."""
    try:
        word = parse_qs((await read_body(request, MOST_BYTES)).decode("utf-8", "replace")).get("word", [""])[-1]
        if word not in WORDS:
            raise Invalid.field("word", f"must be one of {', '.join(WORDS)}")
        return shown(await gateway.clicks.answer(token, approve=WORDS[word]))
    except Refused as refusal:
        return refused(refusal)


def shown(asked: Question) -> Response:
    kept, run = asked.kept, asked.kept.state
    steps = "".join(_step(step, run.steps.get(step.id), asked.step_id) for step in kept.playbook.steps)
    said = [f"On {kept.incident.severity}: {kept.incident.title}", *_why(asked)]
    if not asked.waited_for:
        said.append(f"Your word is not waited for any more. The run is {run.status}.")
    buttons = BUTTONS.format(who=escape(asked.who.name)) if asked.waited_for else ""
    told = "".join(f"<p>{escape(line)}</p>" for line in said)
    return page(200, f"Playbook {kept.playbook.name}", f"{told}<ol>{steps}</ol>{buttons}")


def _why(asked: Question) -> list[str]:
    found = next((step.approval for step in asked.kept.playbook.steps if step.id == asked.step_id), None)
    approval = found or asked.kept.playbook.execution.approval
    return [approval.message] if approval is not None and approval.message else []


def _step(step: Step, state: StepState | None, asked: str) -> str:
    does = step.call.action if step.call else step.type
    status = state.status if state else "still to come"
    here = step.id == asked.removesuffix("-agreement")
    text = escape(f"{step.name or step.id}: {does}, {status}")
    return f"<li><b>{text}</b></li>" if here else f"<li>{text}</li>"
