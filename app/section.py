"""What every section of the settings is."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^\S{1,200}$")]


class Section(BaseModel):
    """Frozen; an unknown key is an error; a refused value is never printed by pydantic itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
