"""Playbooks: runs, what their steps gave, their logs, what may begin one"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0006'
down_revision: str | None = '0005'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

JSON = postgresql.JSONB(astext_type=sa.Text())
NOTHING = sa.text("'{}'::jsonb")
AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table('playbook_runs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('playbook_id', sa.Text(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('incident_id', sa.Uuid(), nullable=False),
    sa.Column('cause', sa.Text(), nullable=False),
    sa.Column('dry_run', sa.Boolean(), nullable=False),
    sa.Column('started_by', sa.Text(), nullable=False),
    sa.Column('by_hand', sa.Boolean(), nullable=False),
    sa.Column('from_run', sa.Uuid(), nullable=True),
    sa.Column('from_step', sa.Text(), nullable=True),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('state', JSON, server_default=NOTHING, nullable=False),
    sa.Column('handed', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('created_at', AT, nullable=False),
    sa.Column('ended_at', AT, nullable=True),
    sa.Column('version_time', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('seq', sa.Integer(), server_default=sa.text('-1'), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('playbook_runs_under_way', 'playbook_runs', ['playbook_id', 'incident_id'], unique=True,
                    postgresql_where=sa.text("status IN ('pending', 'running', 'waiting') AND NOT dry_run"))
    op.create_index('playbook_runs_incident', 'playbook_runs', ['incident_id', 'id'], unique=False)
    op.create_index('playbook_runs_to_start', 'playbook_runs', ['id'], unique=False,
                    postgresql_where=sa.text('NOT handed'))
    op.create_table('playbook_steps',
    sa.Column('run_id', sa.Uuid(), nullable=False),
    sa.Column('step_id', sa.Text(), nullable=False),
    sa.Column('parameters', JSON, server_default=NOTHING, nullable=False),
    sa.Column('output', JSON, server_default=NOTHING, nullable=False),
    sa.Column('summary', sa.Text(), nullable=False),
    sa.Column('at', AT, nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'step_id')
    )
    op.create_table('playbook_log',
    sa.Column('run_id', sa.Uuid(), nullable=False),
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('step_id', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('at', AT, nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'id')
    )
    op.create_table('playbook_events',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('incident_id', sa.Uuid(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )


def downgrade() -> None:
    for table in ('playbook_events', 'playbook_log', 'playbook_steps', 'playbook_runs'):
        op.drop_table(table)
