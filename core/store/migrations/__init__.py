"""The database's history, one numbered file a step; `scribelane migrate` walks it forward."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.store.session import Database

LOCK = 7306001  # an advisory lock: two starting processes migrate one after the other


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def upgrade(database: Database, revision: str = "head") -> str:
    """Bring the database to the newest revision, or to the one named, and return its name.

    Safe to call from several processes.
    """
    config = _config()
    with database.transaction() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        return MigrationContext.configure(connection).get_current_revision() or ""


def newest() -> str:
    """The revision that this code expects."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def known() -> frozenset[str]:
    """Every revision that this code can bring to the newest."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def current(database: Database) -> str | None:
    """The revision that the database is at; None before the first migration."""
    with database.transaction() as connection:
        return MigrationContext.configure(connection).get_current_revision()
