"""Whether anything is left of something that was erased: a look into every table and every blob that there is."""

from __future__ import annotations

from pathlib import Path

from core.store.session import Database
from tests.integration import work

_TABLES = """
SELECT table_schema || '.' || table_name AS name FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1
"""


def tables_with(database: Database, trace: str) -> list[str]:
    """The tables that have it in any column of any row, as text or as bytes."""
    found = []
    either = {"text": f"%{trace}%", "bytes": f"%{trace.encode().hex()}%"}
    for table in work.execute(database, _TABLES):
        like = f"SELECT count(*) FROM {table.name} AS t WHERE t::text ILIKE :text OR t::text ILIKE :bytes"
        rows = work.execute(database, like, **either)
        if rows[0][0]:
            found.append(table.name.removeprefix("public."))
    return found


def files_with(folder: Path, trace: str) -> list[Path]:
    """The files and folders that have it in their path or content."""
    return [
        path
        for path in folder.rglob("*")
        if trace in str(path.relative_to(folder)) or (path.is_file() and trace.encode() in path.read_bytes())
    ]
