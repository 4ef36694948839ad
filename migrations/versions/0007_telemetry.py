"""Telemetry: series, what they come to by the minute, episodes; the pings of heartbeats"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0007'
down_revision: str | None = '0006'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

JSON = postgresql.JSONB(astext_type=sa.Text())
AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table('series',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('parent', sa.Text(), nullable=True),
    sa.Column('detector', sa.Text(), nullable=False),
    sa.Column('signal', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('subject', JSON, server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('service', sa.Text(), nullable=True),
    sa.Column('environment', sa.Text(), nullable=True),
    sa.Column('labels', JSON, server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('first_at', AT, nullable=False),
    sa.Column('last_at', AT, nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('series_siblings', 'series', ['parent'], unique=False,
                    postgresql_where=sa.text('parent IS NOT NULL'))
    op.create_index('series_by_age', 'series', ['last_at'], unique=False)
    op.create_index('series_presence', 'series', ['last_at'], unique=False,
                    postgresql_where=sa.text("detector = 'no_data'"))
    op.create_table('buckets',
    sa.Column('series', sa.Text(), nullable=False),
    sa.Column('minute', AT, nullable=False),
    sa.Column('total', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('bad', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('amount', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('series', 'minute')
    )
    op.create_index('buckets_by_age', 'buckets', ['minute'], unique=False)
    op.create_table('telemetry_posts',
    sa.Column('delivery', sa.Text(), nullable=False),
    sa.Column('at', AT, nullable=False),
    sa.PrimaryKeyConstraint('delivery')
    )
    op.create_index('telemetry_posts_by_age', 'telemetry_posts', ['at'], unique=False)
    op.create_table('episodes',
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('since', AT, nullable=False),
    sa.Column('severity', sa.Text(), nullable=False),
    sa.Column('threshold', sa.Float(), nullable=False),
    sa.Column('over', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('news', JSON, nullable=True),
    sa.PrimaryKeyConstraint('subject')
    )
    op.create_table('beats',
    sa.Column('heartbeat', sa.Text(), nullable=False),
    sa.Column('since', AT, nullable=False),
    sa.Column('at', AT, nullable=True),
    sa.PrimaryKeyConstraint('heartbeat')
    )


def downgrade() -> None:
    for table in ('beats', 'episodes', 'telemetry_posts', 'buckets', 'series'):
        op.drop_table(table)
