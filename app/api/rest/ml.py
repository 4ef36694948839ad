"""The model: what it is taught, what it says, which one counts."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, status

from app.api.auth import Caller
from app.api.rest.wire import Served, accepts, read
from app.domain.record import Record
from app.service.ml import Answer, Feedback, FullAnswer, GivenLabels, Kept, Question, Stats, Training
from app.store.models import ModelView

router = APIRouter(tags=["ml"])
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Taken(Record):
    """How many labels were taken."""

    labels: int


@router.post("/incidents/{incident_id}/classification/feedback", openapi_extra=accepts(Feedback))
async def feedback(request: Request, incident_id: str, who: Caller, gateway: Served) -> Kept:
    """The severity it should have had. It changes nothing on the incident; the next model learns from it."""
    return await gateway.learning.feedback(who, incident_id, await read(request, Feedback))


@router.post("/ml/labels", openapi_extra=accepts(GivenLabels))
async def labels(request: Request, who: Caller, gateway: Served) -> Taken:
    """Labels of rule files that the team trusts, at most 1,000 at a time."""
    return Taken(labels=await gateway.learning.learn(who, await read(request, GivenLabels)))


@router.post("/ml/predict/severity", openapi_extra=accepts(Question))
async def predict_severity(request: Request, who: Caller, gateway: Served) -> Answer:
    """What the model says of an incident, and what would stand."""
    said = await gateway.learning.predict(who, await read(request, Question))
    return Answer.model_validate(said.model_dump())


@router.post("/ml/predict/all", openapi_extra=accepts(Question))
async def predict_all(request: Request, who: Caller, gateway: Served) -> FullAnswer:
    """Severity, incident class, type and category."""
    return await gateway.learning.predict(who, await read(request, Question))


@router.get("/ml/stats")
async def stats(who: Caller, gateway: Served) -> Stats:
    return await gateway.learning.stats(who)


@router.get("/ml/models")
async def models(who: Caller, gateway: Served) -> list[ModelView]:
    """The newest first."""
    return await gateway.learning.models(who)


@router.post("/ml/retrain", status_code=status.HTTP_202_ACCEPTED)
async def retrain(who: Caller, gateway: Served) -> Training:
    """Starts a training; while one runs it is joined."""
    return await gateway.learning.retrain(who)


@router.post("/ml/models/{version}/rollback")
async def rollback(version: Version, who: Caller, gateway: Served) -> ModelView:
    """This model counts from now on; every worker has it within seconds."""
    return await gateway.learning.roll_back(who, version)


@router.post("/ml/models/{version}/pin")
async def pin(version: Version, who: Caller, gateway: Served) -> ModelView:
    """No training replaces it. 409 unless it is the champion."""
    return await gateway.learning.pin(who, version, pinned=True)


@router.post("/ml/models/{version}/unpin")
async def unpin(version: Version, who: Caller, gateway: Served) -> ModelView:
    return await gateway.learning.pin(who, version, pinned=False)


@router.delete("/ml/models/{version}", status_code=status.HTTP_204_NO_CONTENT)
async def forget(version: Version, who: Caller, gateway: Served) -> None:
    """409 for the champion."""
    await gateway.learning.forget(who, version)
