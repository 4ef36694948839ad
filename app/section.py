"""What every section of the settings is."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^\S{1,200}$")]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=31_622_400)]
Share = Annotated[float, Field(ge=0, le=1)]
WebUrl = Annotated[
    str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"), AfterValidator(lambda url: url.rstrip("/"))
]


class Section(BaseModel):
    """Frozen; an unknown key is an error; a refused value is never printed by pydantic itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
