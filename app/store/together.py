"""What many incidents have, in one query each."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.domain.grouping import GroupView
from app.domain.playing import RunView
from app.domain.representation import AlertView, IncidentView, NotificationView, TimelineEvent
from app.domain.sla import Targets
from app.store import correlations, runs
from app.store.alerts import ALERT_SHOWN, alert_view
from app.store.database import Pool
from app.store.deliveries import SHOWN_DELIVERIES, delivery_views
from app.store.incidents import ALL_SHOWN, ENTRY_SHOWN, entry_view, view

INCIDENTS = f"SELECT {ALL_SHOWN} FROM incidents WHERE id = ANY($1::uuid[])"
ALERTS = f"""
SELECT {ALERT_SHOWN} FROM unnest($1::uuid[]) AS wanted(id)
CROSS JOIN LATERAL (SELECT * FROM alerts WHERE incident_id = wanted.id ORDER BY id DESC LIMIT $2) a
"""
ENTRIES = f"""
SELECT {ENTRY_SHOWN} FROM unnest($1::uuid[]) AS wanted(id)
CROSS JOIN LATERAL (SELECT * FROM timeline WHERE incident_id = wanted.id ORDER BY seq DESC LIMIT $2) t
LEFT JOIN commands c ON c.id = t.command_id AND c.incident_id = t.incident_id ORDER BY t.incident_id, t.seq
"""
DELIVERIES = SHOWN_DELIVERIES.format(where="incident_id = ANY($1::uuid[])")
GROUPS = f"""
SELECT {correlations.SHOWN} FROM incident_groups g
LEFT JOIN incidents l ON l.id = g.lead_id WHERE g.id = ANY($1::uuid[])
"""

RUNS = f"""
SELECT {runs.SHOWN} FROM unnest($1::uuid[]) AS wanted(id)
CROSS JOIN LATERAL (SELECT * FROM playbook_runs WHERE incident_id = wanted.id ORDER BY id DESC LIMIT $2) r
ORDER BY r.id DESC
"""


@dataclass(frozen=True)
class TogetherStore:
    """Ids that name nothing are passed over. `targets` are what the service level of an incident is reckoned by."""

    pool: Pool
    targets: Targets

    async def incidents(self, ids: Collection[str]) -> dict[str, IncidentView]:
        return {str(row["id"]): view(row, self.targets) for row in await self._fetch(INCIDENTS, ids)}

    async def alerts(self, ids: Collection[str], most: int) -> dict[str, list[AlertView]]:
        """The newest first, `most` of each."""
        found = defaultdict(list)
        for row in await self._fetch(ALERTS, ids, most):
            found[str(row["incident_id"])].append(alert_view(row))
        return found

    async def timelines(self, ids: Collection[str], most: int) -> dict[str, list[TimelineEvent]]:
        """In order, the newest `most` of each."""
        found = defaultdict(list)
        for row in await self._fetch(ENTRIES, ids, most):
            found[str(row["incident_id"])].append(entry_view(row))
        return found

    async def notifications(self, ids: Collection[str]) -> dict[str, list[NotificationView]]:
        found = defaultdict(list)
        for one in delivery_views(await self._fetch(DELIVERIES, ids)):
            found[one.incident_id].append(one)
        return found

    async def groups(self, ids: Collection[str], now: datetime) -> dict[str, GroupView]:
        return {row["id"]: correlations.group_view(row, now) for row in await self._fetch(GROUPS, ids)}

    async def runs(self, ids: Collection[str], most: int) -> dict[str, list[RunView]]:
        """The newest first, `most` of each."""
        found = defaultdict(list)
        for row in await self._fetch(RUNS, ids, most):
            found[row["incident_id"]].append(runs.run_view(row))
        return found

    async def _fetch(self, sql: str, ids: Collection[str], *more: object) -> Sequence[asyncpg.Record]:
        known = []
        for id_ in dict.fromkeys(ids):
            try:
                known.append(UUID(id_))
            except ValueError:
                continue
        return await self.pool.fetch(sql, known, *more) if known else []
