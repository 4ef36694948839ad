"""The settings of what comes in: the secrets by which tools are known, and what is said of all they send."""

from typing import Annotated

from pydantic import Field, SecretStr

from app.domain.vocabulary import Environment
from app.section import Name, Section

GENERIC = "generic"
"""The source of a tool whose format a saved mapping of the same name knows."""


class Tool(Section):
    """One tool that posts to /api/v1/ingest/<its name here>."""

    source: Name | None = Field(
        None, description="What it is, like grafana; generic = a mapping of its name; none = its name says it."
    )
    secrets: Annotated[tuple[SecretStr, ...], Field(max_length=5)] = Field(
        (), description="What its signatures are made with; two while one replaces the other. None = an API key."
    )
    service: Name | None = Field(None, description="The service of alerts that name none.")
    environment: Environment | None = Field(None, description="The environment of alerts that name none.")
    labels: dict[Name, str] = Field({}, description="Labels of all its alerts, unless they say otherwise.")


class Intake(Section):
    tools: dict[Name, Tool] = Field({}, description="Name → what posts under it; sources without one need an API key.")
