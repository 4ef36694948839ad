"""Brings a database's schema up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def configuration(url: str) -> Config:
    """Alembic's settings for a database given as `postgresql://…`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = sqlalchemy_url(url)
    return config


def sqlalchemy_url(url: str) -> str:
    return "postgresql+asyncpg://" + url.split("://", 1)[1]


def upgrade(url: str) -> None:
    """Applies every migration that is missing. Safe to run twice, also at the same time."""
    command.upgrade(configuration(url), "head")
