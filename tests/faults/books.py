"""What must be true once everything has ended, whatever happened meanwhile.

A trigger of the tests' own notes each change of a chunk's status, so that "applied exactly once" is counted and not
believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

if TYPE_CHECKING:
    from tests.faults.deployment import Deployment

AUDIT = """
CREATE TABLE audit (
    chunk_id uuid, job_id uuid, status text, attempt int, failures int, at timestamptz DEFAULT clock_timestamp()
);
CREATE FUNCTION audit_chunk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit VALUES (NEW.id, NEW.job_id, NEW.status, NEW.attempt, NEW.failures);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE OF status ON chunks
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION audit_chunk();
"""

_BROKEN = {
    "a chunk was not applied exactly once": """
        SELECT c.id, c.stage FROM chunks c
        WHERE c.job_id = ANY(:jobs)
          AND 1 <> (SELECT count(*) FROM audit a WHERE a.chunk_id = c.id AND a.status = 'done')""",
    "chunks are counted wrongly": """
        SELECT id FROM jobs j WHERE id = ANY(:jobs) AND (chunks_done, chunks_total) <> (
            SELECT count(*) FILTER (WHERE status = 'done'), count(*) FROM chunks c
            WHERE c.job_id = j.id AND stage IN ('transcribe', 'embed'))""",
    "a passage has no vector, or several": """
        SELECT p.id FROM passages p WHERE p.job_id = ANY(:jobs)
          AND 1 <> (SELECT count(*) FROM vectors v WHERE v.passage_id = p.id)""",
    "something is still reserved": "SELECT account_id FROM usage_totals WHERE reserved <> 0",
    "a job was not settled exactly once": """
        SELECT id FROM jobs j WHERE id = ANY(:jobs) AND 1 <> (
            SELECT count(*) FROM usage_events e WHERE e.job_id = j.id AND e.kind = 'settle')""",
    "what is used is not what the jobs are long": """
        SELECT used FROM usage_totals t WHERE used <> (
            SELECT round(coalesce(sum(CASE WHEN t.unit = 'audio_s' THEN duration_s ELSE pages END), 0)::numeric, 3)
            FROM jobs j WHERE j.account_id = t.account_id AND status = 'completed')""",
}


def faults_in_the_books(connection: Connection, job_ids: Sequence[UUID], like: UUID) -> list[str]:
    """What is wrong with jobs that completed, in words; `like` is one of the same input that nothing happened to."""
    wrong = [
        f"{what}: {rows[:5]}"
        for what, query in _BROKEN.items()
        if (rows := connection.execute(sa.text(query), {"jobs": list(job_ids)}).all())
    ]
    expected = _text_of(connection, like)
    return wrong + [
        f"the text of {job_id} is not that of an undisturbed job"
        for job_id in job_ids
        if _text_of(connection, job_id) != expected
    ]


def orphans(blob_folder: Path, connection: Connection) -> list[str]:
    """Files of the blob folder that belong to no job, or were never finished."""
    known = {str(row.id) for row in connection.execute(sa.text("SELECT id FROM jobs"))}
    files = [path.relative_to(blob_folder) for path in blob_folder.glob("jobs/**/*") if path.is_file()]
    return [str(path) for path in files if path.parts[1] not in known or "#" in path.name]


def _text_of(connection: Connection, job_id: UUID) -> list[tuple[Any, ...]]:
    """Segments and passages, in order: a missing one shows, and so does one that is there twice."""
    segments = "SELECT start_s, end_s, text FROM segments WHERE job_id = :job ORDER BY start_s, chunk_ordinal, ordinal"
    passages = "SELECT start_s, end_s, text FROM passages WHERE job_id = :job ORDER BY start_s, text"
    return [tuple(row) for query in (segments, passages) for row in connection.execute(sa.text(query), {"job": job_id})]


def recovery_s(whole: Deployment, chunk_id: UUID, since: object) -> float | None:
    """Seconds from a time of the database's clock until the chunk was next begun; None if it was not."""
    query = """
        SELECT extract(epoch FROM min(at) - CAST(:since AS timestamptz)) FROM audit
        WHERE chunk_id = :chunk AND status = 'running' AND at > CAST(:since AS timestamptz)"""
    with whole.database() as database, database.transaction() as connection:
        found = connection.scalar(sa.text(query), {"chunk": chunk_id, "since": since})
    return None if found is None else float(found)
