"""CPU and memory of one container of a deployment; its pods are replaced one after the other.

Source: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/ and, for quantities,
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/. The patch is a strategic merge, which
finds the container by its name (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/).
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import StringConstraints, model_validator

from app.actions.base import Done, Situation
from app.actions.kubernetes import ClusterChange, Name, OnDeployment, container_of, note_of, noted

QUANTITY = r"^\d{1,12}(\.\d{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY)]
PLACES = {"cpu_request": "requests/cpu", "cpu_limit": "limits/cpu", "memory_request": "requests/memory",
          "memory_limit": "limits/memory"}  # fmt: skip
UNITS = {"": Decimal(1), "m": Decimal("0.001")}
UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P"), 1)}
UNITS |= {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)}


@dataclass(frozen=True)
class ScaleVertical(ClusterChange):
    """`deployment`: its name; `namespace`: none = the one of the settings.

    `container`: which of its containers. What is given of `cpu_request`, `cpu_limit`, `memory_request` and
    `memory_limit` is set (500m, 2, 4Gi), the rest stays.

    What was there before is noted on the deployment under the step's key, in the patch that changes it.
    """

    class Parameters(OnDeployment):
        container: Name
        cpu_request: Quantity | None = None
        cpu_limit: Quantity | None = None
        memory_request: Quantity | None = None
        memory_limit: Quantity | None = None

        @model_validator(mode="after")
        def _something(self) -> Self:
            if not self.wanted:
                raise ValueError(f"needs at least one of {', '.join(PLACES)}")
            return self

        @property
        def wanted(self) -> dict[str, str]:
            given = {place: getattr(self, name) for name, place in PLACES.items()}
            return {place: value for place, value in given.items() if value is not None}

    destructive: ClassVar[bool] = True

    def subject(self, asked: Parameters) -> str:
        return f"container {asked.container} of {asked.deployment}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        deployment = await self.cluster.get(self._path(asked), at)
        resources = container_of(deployment, asked.container).get("resources", {})
        places = (place.split("/") for place in asked.wanted)
        return {f"{kind}/{what}": (resources.get(kind) or {}).get(what) for kind, what in places}

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return asked.wanted

    def same(self, found: Any, wanted: Any) -> bool:
        return {place: amount(said) for place, said in found.items()} == {
            place: amount(said) for place, said in wanted.items()
        }

    async def recall(self, asked: Parameters, at: Situation) -> Any:
        note = note_of(await self.cluster.get(self._path(asked), at), "resources")
        return note["before"] if note.get("key") == at.key else None

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        deployment = await self.cluster.get(self._path(asked), at)
        container_of(deployment, asked.container)
        resources: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        for place, said in value.items():
            kind, what = place.split("/")
            resources[kind][what] = said
        patch = {
            "metadata": noted(deployment, "resources", at, before),
            "spec": {"template": {"spec": {"containers": [{"name": asked.container, "resources": resources}]}}},
        }
        await self.cluster.patch(self._path(asked), patch, "strategic-merge-patch", at)

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        await super().verify(asked, done, at)
        return await self.cluster.rolled_out(self._path(asked), at)

    def _path(self, asked: Parameters) -> str:
        return self.cluster.deployment(asked.deployment, asked.namespace)


def amount(said: str | None) -> Decimal | str | None:
    """A quantity as a number, as the server writes 1000m as 1; what is no plain quantity stays as it is."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", said or "")
    return Decimal(parts[1]) * UNITS[parts[2]] if parts and parts[2] in UNITS else said
