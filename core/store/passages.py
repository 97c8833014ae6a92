"""Reading what was made: segments and passages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from core.job import ChunkStatus, Stage
from core.passages import Passage
from core.store.tables import chunks, passages, segments, vectors
from core.transcript import HeardLanguage, TranscriptSegment, TranscriptWord


def segments_of(
    connection: Connection,
    job_id: UUID,
    chunk_from: int = 0,
    chunk_to: int | None = None,
) -> list[TranscriptSegment]:
    """The segments of a job in order, or those of some of its chunks (`chunk_to` included)."""
    query = sa.select(segments).where(segments.c.job_id == job_id, segments.c.chunk_ordinal >= chunk_from)
    if chunk_to is not None:
        query = query.where(segments.c.chunk_ordinal <= chunk_to)
    rows = connection.execute(query.order_by(segments.c.chunk_ordinal, segments.c.ordinal))
    return [_segment(row) for row in rows]


def spoken_before(connection: Connection, job_id: UUID, chunk: int) -> Sequence[str]:
    """The texts of the segments of the chunks before one."""
    query = sa.select(segments.c.text).where(segments.c.job_id == job_id, segments.c.chunk_ordinal < chunk)
    return connection.scalars(query).all()


def heard_languages(connection: Connection, job_id: UUID) -> list[HeardLanguage]:
    """What each transcribed chunk was heard as."""
    query = sa.select(chunks.c.output).where(
        chunks.c.job_id == job_id,
        chunks.c.stage == Stage.TRANSCRIBE,
        chunks.c.status == ChunkStatus.DONE,
    )
    return [
        HeardLanguage(output["language"], output["probability"], output["speech_s"])
        for output in connection.scalars(query)
        if output is not None
    ]


def passages_of_chunk(connection: Connection, job_id: UUID, chunk_ordinal: int) -> list[Passage]:
    """The passages that one embed chunk of a document turns into vectors."""
    query = sa.select(passages).where(passages.c.job_id == job_id, passages.c.chunk_ordinal == chunk_ordinal)
    return [passage_of_row(row) for row in connection.execute(query.order_by(passages.c.ordinal))]


def texts_of(connection: Connection, account_id: UUID, ids: Collection[int]) -> dict[int, str]:
    """The texts of these passages, by their ids; of those that there are in this account."""
    query = sa.select(passages.c.id, passages.c.text)
    rows = connection.execute(query.where(passages.c.account_id == account_id, passages.c.id.in_(ids)))
    return {row.id: row.text for row in rows}


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with its id and, if asked for, its vector and the model that made it."""

    id: int
    passage: Passage
    model: str | None = None
    vector: Sequence[float] | None = None


def passages_of(
    connection: Connection,
    job_id: UUID,
    *,
    model: str | None = None,
    after: tuple[int, int] = (-1, -1),
    limit: int,
) -> tuple[list[StoredPassage], tuple[int, int] | None]:
    """Passages of a job in order from a place on, and the place to go on from (None at the end).

    With the vectors of a model, if one is named: one row a passage, whatever other vectors there are.
    """
    place = sa.tuple_(passages.c.chunk_ordinal, passages.c.ordinal)
    columns: list[Any] = [passages]
    source: Any = passages
    if model is not None:
        columns += [vectors.c.model, vectors.c.vector]
        its = sa.and_(vectors.c.passage_id == passages.c.id, vectors.c.model == model)
        source = passages.outerjoin(vectors, its)
    query = sa.select(*columns).select_from(source).where(passages.c.job_id == job_id, place > sa.tuple_(*after))
    rows = connection.execute(query.order_by(place).limit(limit + 1)).all()
    found = [_stored(row, with_vectors=model is not None) for row in rows[:limit]]
    more = (rows[limit - 1].chunk_ordinal, rows[limit - 1].ordinal) if len(rows) > limit else None
    return found, more


def vectors_for(connection: Connection, job_id: UUID, preferred: Sequence[str]) -> tuple[str, int] | None:
    """The model whose vectors of a job are read, and their dimensions.

    Of several the first that is preferred, or else the one that the job itself was embedded with: the earliest.
    """
    query = (
        sa.select(vectors.c.model, sa.func.vector_dims(vectors.c.vector))
        .join(passages, passages.c.id == vectors.c.passage_id)
        .where(passages.c.job_id == job_id)
        .order_by(vectors.c.made_at, vectors.c.model)
        .limit(1)
    )
    wanted = [vectors.c.model == name for name in preferred]
    for condition in (*wanted, sa.true()):
        if (row := connection.execute(query.where(condition)).one_or_none()) is not None:
            return row[0], row[1]
    return None


def _stored(row: Row[Any], *, with_vectors: bool) -> StoredPassage:
    if not with_vectors or row.vector is None:
        return StoredPassage(row.id, passage_of_row(row))
    return StoredPassage(row.id, passage_of_row(row), row.model, [float(value) for value in row.vector])


def passage_of_row(row: Row[Any]) -> Passage:
    """A passage from its row, which may have more columns."""
    return Passage(**{field.name: getattr(row, field.name) for field in fields(Passage)})


def _segment(row: Row[Any]) -> TranscriptSegment:
    return TranscriptSegment(
        start_s=row.start_s,
        end_s=row.end_s,
        text=row.text,
        avg_logprob=row.avg_logprob,
        compression_ratio=row.compression_ratio,
        no_speech_prob=row.no_speech_prob,
        temperature=row.temperature,
        words=tuple(TranscriptWord(**word) for word in row.words or ()),
    )
