"""The class of an incident: stated or recognised, looked up, and what an open outage explains"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0009'
down_revision: str | None = '0008'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

OUTAGES = "(tags->>'class') = 'availability.provider_outage' AND status NOT IN ('RESOLVED', 'CLOSED')"


def upgrade() -> None:
    op.add_column('classifications', sa.Column('stated', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.create_index('classifications_class', 'classifications', ['incident_class', 'incident_id'], unique=False,
                    postgresql_where=sa.text('incident_class IS NOT NULL'))
    op.create_index('incidents_outages', 'incidents', ['created_at', 'id'], unique=False,
                    postgresql_where=sa.text(OUTAGES))


def downgrade() -> None:
    op.drop_index('incidents_outages', table_name='incidents')
    op.drop_index('classifications_class', table_name='classifications')
    op.drop_column('classifications', 'stated')
