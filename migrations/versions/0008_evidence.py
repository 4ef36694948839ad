"""Evidence: what tools sent, encrypted"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0008'
down_revision: str | None = '0007'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

IDS = sa.ARRAY(sa.Uuid())
NONE = sa.text("'{}'::uuid[]")


def upgrade() -> None:
    op.create_table('evidence',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('tool', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('ciphertext', sa.LargeBinary(), nullable=False),
    sa.Column('alert_ids', IDS, server_default=NONE, nullable=False),
    sa.Column('incident_ids', IDS, server_default=NONE, nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('evidence_at', 'evidence', ['at'], unique=False)
    op.create_index('evidence_incidents', 'evidence', ['incident_ids'], unique=False, postgresql_using='gin')


def downgrade() -> None:
    op.drop_table('evidence')
