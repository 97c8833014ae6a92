"""One HNSW index for each embedding model that has many vectors, made and dropped while everything goes on.

Beat's chore `vector_indexes` (`workers.chores`) calls `renew` now and then. An index is of one model's vectors alone
(`WHERE model = …`, cast to their length): only vectors of one length can be compared, and a search is by one model. It
is built concurrently: nobody who reads or writes waits for it, and a build that is interrupted leaves an index that
PostgreSQL calls invalid, which is dropped and built anew. `core.store.passages` searches, with an index or without.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
import structlog
from psycopg import sql
from sqlalchemy.engine import Connection

from core.store.session import Database

log = structlog.get_logger(__name__)

WORTH_IT = 10_000
"""Vectors of a model from which on it gets an index: below, looking at each takes milliseconds, and misses nothing."""
MOST_DIMENSIONS = 2000
"""Of an HNSW index on `vector` (pgvector). A model with more is searched exactly, however many vectors it has."""

_PREFIX = "vectors_hnsw_"
_NAME_CHARS = 30  # of the model's own name; PostgreSQL cuts a name at 63 bytes

_M, _EF_CONSTRUCTION = 16, 64  # pgvector's own defaults
# One process builds: those who search and write need the other cores, and parallel ones need more shared memory than a
# container has by default. The graph of about 250,000 vectors of 384 dimensions fits; what does not is built on disk.
_ROOM = sa.text("""
SELECT set_config('max_parallel_maintenance_workers', '0', false),
       set_config('maintenance_work_mem', greatest(setting::bigint, 512 * 1024)::text, false)
FROM pg_settings WHERE name = 'maintenance_work_mem'
""")
_LOCK = sa.text("SELECT pg_try_advisory_lock(hashtextextended('vector indexes', 0))")

_INDEXES = sa.text("""
SELECT c.relname AS name, i.indisvalid AS valid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'vectors'::regclass AND starts_with(c.relname, :prefix)
""")
# By an index that has no vectors in it, and no further than is asked for.
_MODELS = sa.text("""
SELECT name, dimensions,
       (SELECT count(*) FROM (SELECT FROM vectors v WHERE v.model = m.name LIMIT :worth_it) counted) AS n_vectors
FROM embedding_models m ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class _Model:
    """An embedding model as the database knows it; of `n_vectors` no more than `WORTH_IT` are counted."""

    name: str
    dimensions: int
    n_vectors: int


def name_of(model: str) -> str:
    """The name of a model's index: what is readable of the model's name, and a hash that tells it from others."""
    readable = re.sub(r"[^a-z0-9]+", "_", model.lower())[:_NAME_CHARS]
    return f"{_PREFIX}{readable}_{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def renew(database: Database, *, worth_it: int = WORTH_IT) -> int:
    """Make the indexes that are missing, and drop those that are broken or of models without vectors; returns how many.

    May take an hour. Returns 0 at once while another process is at it.
    """
    # The lock is held by the session that builds: it is free again when the build has ended, also on a server that has
    # not noticed yet that its client is gone.
    with database.unhurried() as connection:
        if not connection.scalar(_LOCK):
            return 0
        connection.execute(_ROOM)
        return _renew(connection, worth_it)


def _renew(connection: Connection, worth_it: int) -> int:
    models = [_Model(*row) for row in connection.execute(_MODELS, {"worth_it": worth_it})]
    found = {row.name: row.valid for row in connection.execute(_INDEXES, {"prefix": _PREFIX})}
    kept = {name_of(model.name) for model in models if model.n_vectors}
    gone = [name for name, valid in found.items() if not valid or name not in kept]
    for name in gone:
        _run(connection, sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))
    n_made = 0
    for model in models:
        if model.n_vectors >= worth_it and name_of(model.name) not in set(found) - set(gone):
            n_made += _make(connection, model)
    return len(gone) + n_made


def _make(connection: Connection, model: _Model) -> bool:
    if model.dimensions > MOST_DIMENSIONS:
        log.warning(
            "no index: the vectors are too long for one, searches stay exact",
            model=model.name,
            dimensions=model.dimensions,
            at_most=MOST_DIMENSIONS,
        )
        return False
    statement = sql.SQL("""
        CREATE INDEX CONCURRENTLY {name} ON vectors
        USING hnsw ((vector::vector({dimensions})) vector_cosine_ops)
        WITH (m = {m}, ef_construction = {ef}) WHERE model = {model}
    """)
    _run(
        connection,
        statement.format(
            name=sql.Identifier(name_of(model.name)),
            dimensions=sql.Literal(model.dimensions),
            m=sql.Literal(_M),
            ef=sql.Literal(_EF_CONSTRUCTION),
            model=sql.Literal(model.name),
        ),
    )
    log.info("vector index made", model=model.name)
    return True


def _run(connection: Connection, statement: sql.Composed) -> None:
    """Run a statement of a kind that takes no parameters."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute(statement)
