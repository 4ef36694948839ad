"""The transaction that wrote each timeline entry and alert, for the feed"""

from collections.abc import Sequence

from alembic import op

revision: str = '0003'
down_revision: str | None = '0002'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    for table in ('timeline', 'alerts'):
        op.execute(f'ALTER TABLE {table} ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()')
        op.create_index(f'{table}_feed', table, ['xid'], unique=False)


def downgrade() -> None:
    for table in ('timeline', 'alerts'):
        op.drop_index(f'{table}_feed', table_name=table)
        op.drop_column(table, 'xid')
