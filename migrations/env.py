"""Alembic's entry: runs the migrations over asyncpg, one runner at a time."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.store import tables

ONE_AT_A_TIME = 727_204_519

ischema_names["xid8"] = tables.Xid8  # SQLAlchemy doesn't know it


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=tables.IncidentRow.metadata)
    with context.begin_transaction():
        connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        context.run_migrations()


async def main() -> None:
    engine = create_async_engine(context.config.attributes["url"], poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())
