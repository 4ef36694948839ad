"""Events: what a published client said, kept whole; when the problem began"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0004'
down_revision: str | None = '0003'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('alerts', sa.Column('event', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column('incidents', sa.Column('began_at', sa.DateTime(timezone=True), nullable=True))
    op.create_index('alerts_events', 'alerts', ['id'], unique=False, postgresql_where=sa.text('event IS NOT NULL'))
    op.create_index('alerts_events_by_name', 'alerts', ['external_id'], unique=False, postgresql_where=sa.text('event IS NOT NULL'))


def downgrade() -> None:
    op.drop_index('alerts_events_by_name', table_name='alerts', postgresql_where=sa.text('event IS NOT NULL'))
    op.drop_index('alerts_events', table_name='alerts', postgresql_where=sa.text('event IS NOT NULL'))
    op.drop_column('incidents', 'began_at')
    op.drop_column('alerts', 'event')
