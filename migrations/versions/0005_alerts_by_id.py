"""Alerts by their own id, and all of them in the order they came in"""

from collections.abc import Sequence

from alembic import op

revision: str = '0005'
down_revision: str | None = '0004'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_index('alerts_by_id', 'alerts', ['id'], unique=False)


def downgrade() -> None:
    op.drop_index('alerts_by_id', table_name='alerts')
