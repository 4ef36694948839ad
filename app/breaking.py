"""The settings of circuit breakers, in both forms that they are written in.

A list of `{name, failure_threshold, …}`; or groups of them (`llm_integrations: {sentinel: {…}}`), beside `defaults`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, FilePath, TypeAdapter, ValidationError

from app.domain import breaker
from app.section import Count, Name, Seconds, Section

DEFAULTS = "defaults"
TYPES = {"fixed_timeout": "fixed", "linear_backoff": "linear", "exponential_backoff": "exponential"}


def normal(name: str) -> str:
    """A breaker's name as it is kept: edge_agent and Edge-Agent are edge-agent."""
    return name.strip().lower().replace("_", "-")


def _known(kind: object) -> object:
    return TYPES.get(kind, kind) if isinstance(kind, str) else kind


class Recovery(Section):
    model_config = ConfigDict(populate_by_name=True)

    type: Annotated[Literal["fixed", "linear", "exponential", "adaptive"], BeforeValidator(_known)] = Field(
        "fixed", description="fixed, linear, exponential or adaptive (also fixed_timeout, linear_backoff, …)."
    )
    initial_timeout_secs: Seconds | None = Field(
        None, validation_alias=AliasChoices("initial_timeout_secs", "min_timeout_secs", "initial", "min"),
        description="The first wait; none = the breaker's timeout_secs.",
    )  # fmt: skip
    max_timeout_secs: Seconds = Field(
        300, validation_alias=AliasChoices("max_timeout_secs", "max"), description="The longest wait."
    )
    increment_secs: Seconds = Field(60, description="How much longer each wait is (linear).")
    multiplier: Annotated[float, Field(ge=1, le=100)] = Field(2, description="How many times longer (exponential).")


class BreakerSettings(Section):
    """What isn't said is as `defaults` have it, else as is built in."""

    model_config = ConfigDict(populate_by_name=True)

    enabled: bool = Field(True, description="Off: it never opens by itself.")
    failure_threshold: Count = Field(5, description="Failures in a row that open it.")
    success_threshold: Count = Field(2, description="Probes that succeed and close it.")
    volume_threshold: Count = Field(10, description="Calls within window_secs before their share of errors counts.")
    error_percentage: Annotated[float, Field(gt=0, le=100)] = Field(
        50, validation_alias=AliasChoices("error_percentage", "error_threshold_percentage"),
        description="Share of failed calls that opens it, in percent.",
    )  # fmt: skip
    window_secs: Seconds = Field(60, description="How far back calls are counted.")
    timeout_secs: Seconds = Field(60, description="How long it stays open.")
    half_open_timeout_secs: Seconds = Field(30, description="A probe's slot is free again after this.")
    half_open_max: Count = Field(
        3, validation_alias=AliasChoices("half_open_max", "half_open_max_requests"),
        description="Probes at the same time, per process.",
    )  # fmt: skip
    recovery_strategy: Recovery = Field(
        Recovery(), validation_alias=AliasChoices("recovery_strategy", "recovery"),
        description="How the wait grows from one opening to the next.",
    )  # fmt: skip

    def config(self) -> breaker.Config:
        said = self.recovery_strategy
        initial = self.timeout_secs if said.initial_timeout_secs is None else said.initial_timeout_secs
        never = {} if self.enabled else {"failure_threshold": 2**31 - 1, "volume_threshold": 2**31 - 1}
        return breaker.Config.model_validate(
            self.model_dump(exclude={"enabled", "timeout_secs", "recovery_strategy"})
            | {"recovery": said.model_dump() | {"initial_secs": initial, "max_secs": said.max_timeout_secs}}
            | never
        )


KEYS = frozenset(BreakerSettings.model_fields) | {"error_threshold_percentage", "half_open_max_requests", "recovery"}
IGNORED = frozenset(
    {"name", "description", "metrics_prefix", "tags", "emit_metrics", "log_state_changes", "log_level",
     "fail_fast_on_open", "reset_on_success"}
)  # fmt: skip
"""Keys of the seed's file that change nothing here."""


def read(written: object) -> object:
    """Name → keys, out of either form; what is neither is left for pydantic to refuse."""
    if isinstance(written, Mapping) and set(written) == {"circuit_breakers"}:
        written = written["circuit_breakers"]
    if isinstance(written, list | tuple):
        if not all(isinstance(one, Mapping) and isinstance(one.get("name"), str) for one in written):
            raise ValueError("must be a list of breakers with a name each, or groups of them by name")
        return {normal(one["name"]): _own(one) for one in written}
    if isinstance(written, Mapping):
        return dict(_named(written))
    return written


def _named(group: Mapping[Any, Any]) -> Iterator[tuple[str, object]]:
    for key, value in group.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            yield from read(value).items()  # type: ignore[attr-defined]
        elif not isinstance(value, Mapping) or not value or KEYS.union(IGNORED) & set(value):
            yield normal(str(key)), _own(value) if isinstance(value, Mapping) else value
        else:
            yield from _named(value)


def _own(said: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in said.items() if key not in IGNORED}


CircuitBreakers = Annotated[dict[Name, BreakerSettings], BeforeValidator(read)]


class Breaking(Section):
    enabled: bool = Field(True, description="Off: everybody is asked, however they answer.")
    path: FilePath | None = Field(None, description="A YAML file of circuit breakers; `circuit_breakers` goes before.")


def _usual(
    thresholds: tuple[int, int, int, float], timeout: float, probing: tuple[float, int], **recovery: object
) -> BreakerSettings:
    failures, successes, volume, percentage = thresholds
    half_open, probes = probing
    return BreakerSettings(
        failure_threshold=failures, success_threshold=successes, volume_threshold=volume, error_percentage=percentage,
        timeout_secs=timeout, half_open_timeout_secs=half_open, half_open_max=probes,
        recovery_strategy=Recovery.model_validate(recovery),
    )  # fmt: skip


_WAY = _usual((5, 2, 10, 50), 15, (10, 2))
"""Ways to reach people: closed again as soon as a page was tried again without a breaker (chosen)."""
BUILT_IN: Mapping[str, BreakerSettings] = {
    "sentinel": _usual((5, 2, 10, 50), 60, (30, 3), type="exponential", max_timeout_secs=300),
    "shield": _usual((3, 2, 5, 60), 120, (30, 2), type="linear", max_timeout_secs=300, increment_secs=60),
    "edge-agent": _usual((10, 3, 20, 40), 30, (15, 5), type="adaptive", max_timeout_secs=300),
    "governance": _usual((5, 2, 10, 50), 60, (30, 3)),
    "elasticsearch": _usual((5, 2, 10, 50), 60, (30, 3)),
    "prometheus": _usual((5, 2, 10, 50), 30, (15, 3)),
    "loki": _usual((5, 2, 10, 50), 30, (15, 3)),
    "pagerduty": _usual((3, 2, 5, 60), 30, (15, 2), type="exponential", max_timeout_secs=300),
    "slack": _usual((3, 2, 5, 60), 20, (10, 2)),
    **dict.fromkeys(("litellm", "langfuse", "kubernetes", "github", "jira"), BreakerSettings()),
    "issuer": _usual((5, 1, 10, 50), 5, (5, 1)),
    "teams": _WAY,
    "smtp": _WAY,
    "sms": _WAY,
    "webhook": _WAY,
    "apprise": _WAY,
}
"""What each is where the settings say nothing; `webhook` stands for every webhook:<host>~<digest of the address>.

Tokens need their issuer: he is asked again as soon as without a breaker.
"""


def configs(*said: Mapping[str, BreakerSettings]) -> dict[str, breaker.Config]:
    """Name → how its breaker works: what is built in, and what was said key by key, the later before the earlier."""
    names = {name for each in said for name in each} | BUILT_IN.keys()
    found = {}
    for name in names | {DEFAULTS}:
        given = BUILT_IN.get(name, BreakerSettings()).model_dump()
        for layer in (each[part] for part in (DEFAULTS, name) for each in said if part in each):
            given |= layer.model_dump(include=layer.model_fields_set)
        found[name] = BreakerSettings.model_validate(given).config()
    return found


def in_file(path: Path) -> dict[str, BreakerSettings]:
    """What a YAML file says, in either form. Raises: OSError, ValueError."""
    try:
        written = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as no:
        mark = getattr(no, "problem_mark", None)
        raise ValueError(f"is no YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    try:
        return TypeAdapter(CircuitBreakers).validate_python(written or {})
    except ValidationError as wrong:
        found = (f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in wrong.errors())
        raise ValueError("; ".join(found)) from None
