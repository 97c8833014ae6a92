"""Embedding all passages anew with another model: which lack its vector, and vectors added and dropped.

`workers.stages.reindex` plans ranges of passages from `missing` and embeds them; `results` adds what came of it in the
fenced transaction; `service.routes.reindex` begins a reindex, and drops the vectors of a model that is not used now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from core.errors import Conflict
from core.job import ENDED, JobKind, Stage
from core.lanes import QUERY_QUEUE
from core.store.dimensions import of_one_length
from core.store.tables import chunks, embedding_models, jobs, passages, vectors, workers
from core.work import PassageRange

DROPPED_AT_ONCE = 10_000
"""Vectors that one transaction deletes: about a second."""

_OPEN = sa.and_(jobs.c.kind == JobKind.REINDEX, jobs.c.status.not_in(ENDED))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Inserting a reindex, or queueing it again. Raises `Conflict` where another with the same model is in work."""
    try:
        yield
    except IntegrityError as error:
        cause = error.orig
        if isinstance(cause, psycopg.errors.UniqueViolation) and cause.diag.constraint_name == "jobs_reindexing":
            raise Conflict("A reindex with this model is in work already.") from error
        raise


# A passage of a job in work gets its vector from that job, or is found by the next reindex.
_MISSING = """
    FROM passages p JOIN jobs j ON j.id = p.job_id
    WHERE j.status IN ('completed', 'failed', 'cancelled')
      AND NOT EXISTS (SELECT FROM vectors v WHERE v.passage_id = p.id AND v.model = :model)
"""
_RANGES = sa.text(f"""
    SELECT min(id) AS first_id, max(id) AS last_id
    FROM (SELECT p.id, (row_number() OVER (ORDER BY p.id) - 1) / :at_once AS part {_MISSING}) missing
    GROUP BY part ORDER BY part
""")
_TEXTS = sa.text(f"SELECT p.id, p.text {_MISSING} AND p.id BETWEEN :first AND :last ORDER BY p.id")
_COUNT = sa.text("""
    SELECT count(*) FROM passages p
    WHERE NOT EXISTS (SELECT FROM vectors v WHERE v.passage_id = p.id AND v.model = :model)
""")


def missing(connection: Connection, model: str, *, at_once: int) -> list[PassageRange]:
    """The passages of all accounts that lack a vector of the model, in ranges of `at_once` of them."""
    rows = connection.execute(_RANGES, {"model": model, "at_once": at_once})
    return [PassageRange(row.first_id, row.last_id) for row in rows]


def texts_of(connection: Connection, model: str, within: PassageRange) -> dict[int, str]:
    """The passages of a range that still lack a vector of the model, by their ids."""
    values = {"model": model, "first": within.first_id, "last": within.last_id}
    return {row.id: row.text for row in connection.execute(_TEXTS, values)}


def count_missing(connection: Connection, model: str) -> int:
    """How many passages lack a vector of the model, those of jobs in work included."""
    return connection.scalar(_COUNT, {"model": model}) or 0


def count_cut(connection: Connection, job_id: UUID) -> int:
    """How many passages of a reindex were longer than its model reads."""
    n_cut = sa.func.sum(chunks.c.output["n_cut"].as_integer())
    its = sa.select(n_cut).where(chunks.c.job_id == job_id, chunks.c.stage == Stage.EMBED)
    return connection.scalar(its) or 0


def add(connection: Connection, made: Mapping[int, Sequence[float]], model: str) -> None:
    """Store vectors by the ids of their passages, each with the passage's own account.

    A passage that is erased, or being erased, is passed over: to wait for whoever erases it could be a deadlock. One
    that has got its vector meanwhile keeps it. Raises `ModelUnavailable`.
    """
    there = sa.select(passages.c.id, passages.c.account_id).where(passages.c.id.in_(made)).order_by(passages.c.id)
    held = connection.execute(there.with_for_update(read=True, key_share=True, skip_locked=True))
    rows = [
        {"passage_id": row.id, "model": model, "account_id": row.account_id, "vector": list(made[row.id])}
        for row in held
    ]
    if rows:
        with of_one_length():
            connection.execute(upsert(vectors).on_conflict_do_nothing(), rows)


# Whoever erases a job deletes its vectors too, in an order of his own: nobody waits for him here.
# Whatever length the vectors of the model have next: another release of it may have another.
_FORGET = sa.text("""
    DELETE FROM embedding_models AS m
    WHERE m.name = :model AND NOT EXISTS (SELECT FROM vectors AS v WHERE v.model = m.name)
""")

_DROP = sa.text("""
    DELETE FROM vectors WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM vectors WHERE model = :model LIMIT :at_most FOR UPDATE SKIP LOCKED
    ))
""")


def is_known(connection: Connection, model: str) -> bool:
    """Whether there are vectors of the model, or were until a moment ago."""
    return bool(connection.scalar(sa.select(sa.exists().where(embedding_models.c.name == model))))


def drop(connection: Connection, model: str, *, configured: str, silent_s: float) -> int:
    """Delete vectors of a model, up to `DROPPED_AT_ONCE`; returns how many. 0: there is none left.

    Raises `Conflict` for the model that searches,
    which is the `configured` one even while no query worker lives, and whatever those heard of within `silent_s` hold;
    and for one that a reindex is embedding with.
    """
    _refuse_in_use(connection, model, configured, silent_s)
    dropped = connection.execute(_DROP, {"model": model, "at_most": DROPPED_AT_ONCE}).rowcount
    if not dropped:
        connection.execute(_FORGET, {"model": model})
    return dropped


def _refuse_in_use(connection: Connection, model: str, configured: str, silent_s: float) -> None:
    alive = workers.c.last_seen > sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, silent_s)
    searching = sa.and_(alive, workers.c.lanes.contains([QUERY_QUEUE]), workers.c.models.contains([model]))
    if model == configured or connection.scalar(sa.select(sa.exists().where(searching))):
        raise Conflict(
            f"Searches are answered with {model}: set SCRIBELANE_EMBEDDING_MODEL and restart API and workers first."
        )
    if connection.scalar(sa.select(sa.exists().where(_OPEN, jobs.c.options["model"].astext == model))):
        raise Conflict(f"A reindex with {model} is in work; cancel it first.")
