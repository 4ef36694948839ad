"""The documents a fresh installation begins with, from YAML files."""

from pathlib import Path

import yaml

from app.domain.access import Principal
from app.domain.errors import Invalid
from app.domain.vocabulary import ActorType, Role
from app.service.documents import Documents

INSTALLER = Principal(name="first start", role=Role.ADMIN, actor_type=ActorType.SYSTEM)


async def install(documents: Documents, directory: Path) -> list[str]:
    """Writes `<kind>.yaml` (a list) of every kind that has no document yet: what was written, like `users primary`.

    Raises: Invalid naming the file and the field.
    """
    written = []
    for kind in documents.KINDS:
        file = directory / f"{kind}.yaml"
        if not file.is_file() or await documents.store.all(kind):
            continue
        try:
            bodies = yaml.safe_load(file.read_text())
        except yaml.YAMLError as wrong:
            raise Invalid.field(str(file), f"is no YAML: {wrong}") from wrong
        if not isinstance(bodies, list):
            raise Invalid.field(str(file), "must be a list")
        for n, body in enumerate(bodies):
            try:
                document = await documents.put(INSTALLER, kind, str(body["id"]), body, expected_version=0)
            except (Invalid, KeyError, TypeError) as wrong:
                raise Invalid.field(f"{file}[{n}]", str(wrong)) from wrong
            written.append(f"{kind} {document.id}")
    return written
