"""The base of every value in the domain."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen value. Unknown fields are ignored, so that an older worker can read what a newer one wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Form(BaseModel):
    """A frozen value a person or a machine sends in: an unknown field is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
