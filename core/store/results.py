"""What a stage produces, and how each result is written; called inside the fenced transaction only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from core import details
from core.details import Details
from core.doubts import MOST_WARNINGS, NOT_ALL
from core.job import JobWarning
from core.passages import Passage
from core.stemmers import stemmer_of
from core.store import reindexes
from core.store.chunks import Claim
from core.store.dimensions import of_one_length
from core.store.jobs import FORGOTTEN
from core.store.speeds import Measured
from core.store.tables import chunks, jobs, passages, segments, vectors
from core.transcript import HeardLanguage, TranscriptSegment
from core.work import Work


@dataclass(frozen=True, slots=True)
class Prepared:
    """The input, opened and cut: one entry of `work` for each chunk of the next stage that is not queued yet, in order.

    For a document, `texts` has the passages of each chunk, and `language` is the one that it seems to be in, as a code
    of ISO 639-1. `details` is what the input says of itself.
    """

    work: Sequence[Work] = ()
    duration_s: float | None = None
    pages: int | None = None
    texts: Sequence[Sequence[Passage]] = ()
    warnings: Sequence[JobWarning] = ()
    details: Details | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The segments of one chunk, in seconds on the media clock, the language heard in it, how fast it went, and what
    is in doubt of it."""

    segments: Sequence[TranscriptSegment]
    heard: HeardLanguage | None
    measured: Measured | None = None
    warnings: Sequence[JobWarning] = ()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Passages with their vectors, shape (n passages, dimensions), of one model; of a transcript, also its language.

    `computed` of them the model was asked for, all unless said; the others were known.
    """

    passages: Sequence[Passage]
    vectors: Sequence[Sequence[float]]
    model: str
    language: str | None = None
    computed: int | None = None


@dataclass(frozen=True, slots=True)
class Reembedded:
    """Vectors of one model for passages of any jobs, by their ids; `n_cut` passages are longer than the model reads."""

    vectors: Mapping[int, Sequence[float]]
    model: str
    n_cut: int


@dataclass(frozen=True, slots=True)
class Assembled:
    """Nothing is left to do; what there is to say about the result as a whole."""

    warnings: Sequence[JobWarning] = ()


Result = Prepared | Transcribed | Embedded | Reembedded | Assembled


@singledispatch
def write(result: Result, connection: Connection, claim: Claim) -> None:
    """Store a result. The caller has checked the fence and commits."""
    raise TypeError(f"no way to store a {type(result).__name__}")


@write.register
def _prepared(result: Prepared, connection: Connection, claim: Claim) -> None:
    values: dict[str, object] = {"duration_s": result.duration_s, "pages": result.pages}
    if result.details is not None:
        values["details"] = details.to_stored(result.details)
    connection.execute(sa.update(jobs).where(jobs.c.id == claim.job_id).values({**values, **FORGOTTEN}))
    _warn(connection, claim, result.warnings)
    for ordinal, texts in enumerate(result.texts):
        _upsert_passages(connection, claim, ordinal, texts, result.language)


@write.register
def _transcribed(result: Transcribed, connection: Connection, claim: Claim) -> None:
    if result.heard is not None:
        _tell(connection, claim, asdict(result.heard))
    rows = [
        {
            "job_id": claim.job_id,
            "chunk_ordinal": claim.ordinal,
            "ordinal": ordinal,
            **asdict(segment),
            "words": [asdict(word) for word in segment.words] if segment.words else None,
        }
        for ordinal, segment in enumerate(result.segments)
    ]
    if rows:
        connection.execute(sa.insert(segments), rows)
    _warn(connection, claim, _as_many_as_are_kept(connection, claim, result.warnings))


@write.register
def _embedded(result: Embedded, connection: Connection, claim: Claim) -> None:
    ids = _upsert_passages(connection, claim, claim.ordinal, result.passages, result.language)
    computed = len(ids) if result.computed is None else result.computed
    _tell(connection, claim, {"passages": len(ids), "computed": computed})
    rows = [
        {"passage_id": id_, "model": result.model, "account_id": claim.account_id, "vector": list(vector)}
        for id_, vector in zip(ids, result.vectors, strict=True)
    ]
    if rows:
        statement = upsert(vectors)
        anew = statement.on_conflict_do_update(
            index_elements=["passage_id", "model"],
            set_={"vector": statement.excluded.vector},
        )
        with of_one_length():
            connection.execute(anew, rows)


@write.register
def _reembedded(result: Reembedded, connection: Connection, claim: Claim) -> None:
    counted = sa.update(chunks).where(chunks.c.id == claim.chunk_id)
    connection.execute(counted.values(output={"n_cut": result.n_cut}))
    reindexes.add(connection, result.vectors, result.model)


@write.register
def _assembled(result: Assembled, connection: Connection, claim: Claim) -> None:
    _warn(connection, claim, result.warnings)


def _tell(connection: Connection, claim: Claim, output: dict[str, object]) -> None:
    """Keep with the chunk what is to be said of its work, beside what it made."""
    connection.execute(sa.update(chunks).where(chunks.c.id == claim.chunk_id).values(output=output))


def _warn(connection: Connection, claim: Claim, warnings: Sequence[JobWarning]) -> None:
    if warnings:
        added = sa.cast([asdict(warning) for warning in warnings], jobs.c.warnings.type)
        connection.execute(
            sa.update(jobs).where(jobs.c.id == claim.job_id).values(warnings=jobs.c.warnings.op("||")(added)),
        )


def _as_many_as_are_kept(connection: Connection, claim: Claim, warnings: Sequence[JobWarning]) -> Sequence[JobWarning]:
    """Those that the job has room for; the last one that fits says that there were more."""
    if not warnings:
        return ()
    so_far = sa.select(sa.func.jsonb_array_length(jobs.c.warnings)).where(jobs.c.id == claim.job_id)
    room = MOST_WARNINGS - (connection.scalar(so_far) or 0)
    if room > len(warnings):
        return warnings
    return [*warnings[: room - 1], NOT_ALL] if room > 0 else ()


def _upsert_passages(
    connection: Connection,
    claim: Claim,
    chunk_ordinal: int,
    texts: Sequence[Passage],
    language: str | None,
) -> list[int]:
    """Ids of the passages in order. A document's passages exist since `prepare`; a transcript's are new."""
    if not texts:
        return []
    rows = [
        {
            "job_id": claim.job_id,
            "account_id": claim.account_id,
            "chunk_ordinal": chunk_ordinal,
            "ordinal": ordinal,
            "stemmer": stemmer_of(language),
            **asdict(passage),
        }
        for ordinal, passage in enumerate(texts)
    ]
    connection.execute(upsert(passages).on_conflict_do_nothing(), rows)
    stored = sa.select(passages.c.id).where(
        passages.c.job_id == claim.job_id, passages.c.chunk_ordinal == chunk_ordinal
    )
    return list(connection.scalars(stored.order_by(passages.c.ordinal)))
