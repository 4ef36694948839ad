"""The settings of what is looked for in telemetry: from when on numbers are an incident."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from app.domain import detection
from app.domain.telemetry import Detector
from app.section import Count, Section

Window = Annotated[float, Field(ge=60, le=86_400)]
Part = Annotated[float, Field(gt=0, le=1)]
Times = Annotated[float, Field(ge=0, le=1000)]
Dollars = Annotated[float, Field(gt=0, le=1_000_000_000)]


class Ratio(Section):
    enabled: bool = Field(True, description="Off: nothing is looked for, and what fires is over.")
    window_secs: Window = Field(300, description="How far back is counted, in whole minutes.")
    least: Count = Field(20, description="Fewer in the window say nothing; of rate limits, fewer refusals.")
    share: Part = Field(0.1, description="From this share of bad ones on it is an incident, 0 to 1.")
    least_bad: Count = Field(
        5, description="Fewer bad ones are chance, whatever their share; of rate limits `least` says it."
    )
    severe_share: Part | None = Field(None, description="Above this share it is P1; none = it never is.")


class Burst(Section):
    enabled: bool = Field(True, description="Off: nothing is looked for, and what fires is over.")
    window_secs: Window = Field(600, description="How far back is counted, in whole minutes.")
    least: Count = Field(30, description="Fewer in the window are no incident.")
    times: Times = Field(0, description="Times what the last 24 hours had per window; 0 = whatever they had.")


class Spend(Section):
    enabled: bool = Field(True, description="Off: nothing is looked for, and what fires is over.")
    window_secs: Window = Field(3600, description="How far back is counted, in whole minutes.")
    least_usd: Dollars = Field(20, description="Less in the window is no incident, in US dollars.")
    times: Annotated[float, Field(ge=1, le=1000)] = Field(3, description="Times what is usual.")


class Silence(Section):
    enabled: bool = Field(True, description="Off: a source may fall silent.")
    window_secs: Annotated[float, Field(ge=300, le=86_400)] = Field(
        3600, description="How long something has to come in every five minutes."
    )
    silent_secs: Annotated[float, Field(ge=60, le=86_400)] = Field(
        900, description="How long nothing comes then until it is an incident."
    )


class Detectors(Section):
    errors: Ratio = Field(Ratio(severe_share=0.5), description="Requests that a provider or model fails.")
    rate_limits: Ratio = Field(Ratio(), description="Requests that a rate limit refuses.")
    guardrail_failures: Ratio = Field(Ratio(share=0.2), description="Guardrails that don't answer.")
    evaluations: Ratio = Field(Ratio(window_secs=3600, least=10, share=0.3), description="Evaluations that fail.")
    guardrails: Burst = Field(Burst(times=5), description="Interventions of guardrails.")
    blocks: Burst = Field(Burst(least=10), description="Users that their provider blocks.")
    session_spend: Spend = Field(
        Spend(window_secs=86_400, least_usd=5), description="A session, against the others of its key."
    )
    key_spend: Spend = Field(Spend(), description="A key, against its last 24 hours.")
    no_data: Silence = Field(Silence(), description="A source that has fallen silent.")
    quiet_secs: Annotated[float, Field(ge=60, le=86_400)] = Field(
        900, description="Without a sample for so long, what fires is over; of longer windows up to an hour."
    )
    max_series: Count = Field(10_000, description="Series counted at the same time; new ones then count together.")

    @model_validator(mode="before")
    @classmethod
    def _the_rest_stays(cls, said: object) -> object:
        """Of a detector of which one thing is said, everything else is as it is by default for that detector."""
        if not isinstance(said, Mapping):
            return said
        usual = {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, Section)}
        return {
            name: {**usual[name].model_dump(), **value} if name in usual and isinstance(value, Mapping) else value
            for name, value in said.items()
        }

    @property
    def rules(self) -> Mapping[Detector, detection.Rule]:
        """What each detector goes by."""
        made: dict[Detector, detection.Rule] = {}
        for detector in Detector:
            said = getattr(self, detector.value)
            shape: type[detection.Rule] = getattr(detection, type(said).__name__)
            made[detector] = shape.model_validate(said.model_dump())
        limits = made[Detector.RATE_LIMITS]
        return made | {Detector.RATE_LIMITS: limits.model_copy(update={"of_bad": True})}
