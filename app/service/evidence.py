"""Evidence: what tools sent, as they sent it, for admins, as long as the settings say."""

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from asyncpg import PostgresError
from cryptography.fernet import InvalidToken, MultiFernet

from app.domain.access import Principal, Scope
from app.domain.errors import Conflict, Unavailable
from app.domain.evidence import EvidenceItem, EvidenceList, EvidenceView
from app.domain.requests import Ingested
from app.sources.base import Post
from app.store.database import AWAY, answering
from app.store.evidence import EvidenceStore
from app.store.incidents import as_uuid

log = logging.getLogger(__name__)

PROOFS = re.compile(
    r"authori[sz]|\bauth\b|cookie|token|secret|passw|signature|credential|api[-_]?key|^key$", re.IGNORECASE
)
"""In names of headers and of parts of a query: what shows who sent it."""
FORGETS_EVERY_SECS = 3600.0
AT_ONCE = 1000


@dataclass(frozen=True)
class Evidence:
    """`box` None: nothing can be read. `enabled` off: nothing more is kept; a body over `max_bytes` never is."""

    store: EvidenceStore
    box: MultiFernet | None = None
    enabled: bool = False
    max_bytes: int = 0
    retention: timedelta = timedelta(days=30)

    async def keep(self, tool: str, post: Post) -> str | None:
        """Its id, or None where it isn't kept: that is logged, and no reason to refuse what came."""
        if not self.enabled or self.box is None:
            return None
        if len(post.body) > self.max_bytes:
            log.warning("no evidence of %s: %s bytes are more than %s", tool, len(post.body), self.max_bytes)
            return None
        head = orjson.dumps({"headers": _without_proofs(post.headers), "query": _without_proofs(post.query)})
        sealed = self.box.encrypt(head + b"\n" + post.body)
        digest = hashlib.sha256(post.body).hexdigest()
        try:
            async with answering():
                return await self.store.keep(tool, post.at, digest, len(post.body), sealed)
        except (Unavailable, PostgresError) as failed:
            log.warning("no evidence of %s: %s", tool, type(failed).__name__)
            return None

    async def tie(self, id_: str | None, results: Collection[Ingested]) -> None:
        """Says which alerts and incidents came of it; where that can't be said now, it is logged."""
        alerts = {one.alert_id for one in results if one.alert_id}
        incidents = {one.incident_id for one in results if one.incident_id}
        if id_ is None or not (alerts or incidents):
            return
        try:
            async with answering():
                await self.store.tie(id_, alerts, incidents)
        except (Unavailable, PostgresError) as failed:
            log.warning("evidence %s isn't tied to its incidents: %s", id_, type(failed).__name__)

    async def get(self, who: Principal, id_: str) -> EvidenceView:
        """Whoever reads it stands in the log. Raises: Forbidden, NotFound, Conflict without its key, Unavailable."""
        item, post = await self.open(who, id_, "read")
        try:
            body, encoding = post.body.decode(), "text"
        except UnicodeDecodeError:
            body, encoding = base64.b64encode(post.body).decode(), "base64"
        return EvidenceView.model_validate(
            item.model_dump()
            | {"headers": post.headers, "query": post.query, "encoding": encoding, "body": body}
        )  # fmt: skip

    async def of_incident(self, who: Principal, incident_id: str) -> EvidenceList:
        """What led to an incident. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.ADMINISTER)
        async with answering():
            return EvidenceList(evidence=await self.store.of_incident(as_uuid(incident_id)))

    async def open(self, who: Principal, id_: str, deed: str) -> tuple[EvidenceItem, Post]:
        """The post as it came, but for what proved who sent it. Raises: as `get`."""
        who.may(Scope.ADMINISTER)
        async with answering():
            item, sealed = await self.store.get(as_uuid(id_, "evidence"))
        log.info("evidence %s %s by %s", item.id, deed, who.name, extra={"tool": item.tool, "actor_id": who.id})
        try:
            if self.box is None:
                raise InvalidToken
            head, _, body = self.box.decrypt(sealed).partition(b"\n")
        except InvalidToken:
            raise Conflict("It was encrypted with a key that intake.evidence.keys doesn't have.", {"id": id_}) from None
        return item, Post(body, item.at, **orjson.loads(head))

    async def keep_for_a_while(self) -> None:
        """Until cancelled: deletes what is too old. Several gateways don't get into each other's way."""
        while True:
            try:
                while await self.store.forget(datetime.now(UTC) - self.retention, AT_ONCE) == AT_ONCE:
                    pass
            except (*AWAY, PostgresError) as away:
                log.warning("old evidence isn't deleted: %s", type(away).__name__)
            await asyncio.sleep(FORGETS_EVERY_SECS)


def _without_proofs(said: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in said.items() if PROOFS.search(name) is None}
