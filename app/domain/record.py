"""The base of every value in the domain."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen value. Unknown fields are ignored, so that an older worker can read what a newer one wrote;

    whoever takes one from outside validates with `extra="forbid"`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
