"""Who is told, at the moment a level goes out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio import activity

from activities.triage import Outgoing
from app.domain.escalation import Target
from app.domain.incident import Page
from app.domain.notification import Delivery, delivery_key
from app.domain.people import Team, User, external_address
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, TargetType

if TYPE_CHECKING:
    from app.store.deliveries import DeliveryStore
    from app.store.documents import DocumentStore

Reach = tuple[str, dict[ChannelName, dict[str, str]]]


class Paging(Record):
    incident_id: str
    page: Page


class Decided(Record):
    """The pages that were written down, and the targets nobody can be reached for."""

    outgoing: tuple[Outgoing, ...]
    unreachable: tuple[str, ...]


@dataclass(frozen=True)
class Directory:
    """`channels` are those that are switched on."""

    documents: DocumentStore
    deliveries: DeliveryStore
    channels: Collection[ChannelName]

    @activity.defn(name="directory.page")
    async def page(self, paging: Paging) -> Decided:
        """Looks up whom a level reaches and writes their pages down. Twice is once: the delivery key is unique."""
        page = paging.page
        found: dict[str, Delivery] = {}
        unreachable: dict[str, None] = {}
        for target in page.level.targets:
            for person, addresses in await self._reach(target):
                reached = {c: addresses[c] for c in page.level.channels if c in addresses and c in self.channels}
                if not reached:
                    unreachable[person] = None
                for delivery in _deliveries(paging, person, reached):
                    found[delivery.key] = delivery
        if found:
            await self.deliveries.decide(list(found.values()))
        outgoing = tuple(Outgoing.model_validate(delivery, from_attributes=True) for delivery in found.values())
        return Decided(outgoing=outgoing, unreachable=tuple(unreachable))

    async def _reach(self, target: Target) -> list[Reach]:
        """Everybody a target stands for, with their addresses (none: not reachable)."""
        if target.type is TargetType.EXTERNAL:
            channel, address = external_address(target.id)
            return [(target.label, {channel: address})]
        if target.type is TargetType.USER:
            return [await self._user(target.id)]
        document = await self.documents.get("teams", target.id)
        members = Team.model_validate(document.body).members if document else ()
        return [await self._user(member) for member in members] or [(target.label, {})]

    async def _user(self, user_id: str) -> Reach:
        document = await self.documents.get("users", user_id)
        return f"user:{user_id}", User.model_validate(document.body).addresses() if document else {}


def _deliveries(paging: Paging, person: str, reached: dict[ChannelName, dict[str, str]]) -> Iterator[Delivery]:
    page = paging.page
    for channel, address in reached.items():
        yield Delivery(
            id="", key=delivery_key(paging.incident_id, page.cycle, page.rung, person, channel),
            incident_id=paging.incident_id, cycle=page.cycle, rung=page.rung, level=page.number,
            target=person, channel=channel, address=address,
        )  # fmt: skip
