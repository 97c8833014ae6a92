"""Give passages their vectors, so that search finds them. Runs on the GPU lanes, and on `query` for a search."""

from __future__ import annotations

from typing import Any

from core.details import MediaDetails
from core.job import JobKind
from core.passages import Passage, TimedText, flow_chars, from_segments, moved
from core.store import jobs, known_vectors
from core.store import passages as passage_store
from core.store.chunks import Claim
from core.store.results import Embedded, Reembedded
from core.transcript import spoken_language
from core.work import TranscriptSpan
from models.registry import ModelKind
from workers.lease import Lease
from workers.stages import reindex
from workers.stages.context import Context


def embed(context: Context, claim: Claim, lease: Lease) -> Embedded | Reembedded:
    """Embed the passages that `prepare` cut from a document, cut a stretch of transcript and embed it, or reindex.

    A text that occurs twice, or that the account has a vector for already, is not computed again; where that holds for
    all, no model is loaded. Every batch is a step of progress.
    """
    if claim.kind is JobKind.REINDEX:
        return reindex.embed(context, claim, lease)
    model = context.embedding_model(claim)
    passages = _passages(context, claim, model)
    texts = list(dict.fromkeys(passage.text for passage in passages))
    with context.database.transaction() as connection:
        vectors = dict(known_vectors.known(connection, claim.account_id, model, texts))
    lease.progress()
    new = [text for text in texts if text not in vectors]
    if new:
        with context.pool.use(model, ModelKind.EMBEDDING) as engine:
            lease.progress()
            vectors.update(zip(new, engine.embed(new, on_batch=lease.progress).tolist(), strict=True))
    found = [vectors[passage.text] for passage in passages]
    return Embedded(passages, found, model, _language(context, claim), computed=len(new))


def _passages(context: Context, claim: Claim, model: str) -> list[Passage]:
    with context.database.transaction() as connection:
        if claim.kind is JobKind.DOCUMENT:
            return passage_store.passages_of_chunk(connection, claim.job_id, claim.ordinal)
        assert isinstance(claim.work, TranscriptSpan)
        span = claim.work
        segments = passage_store.segments_of(connection, claim.job_id, span.chunk_from, span.chunk_to)
        said_before = passage_store.spoken_before(connection, claim.job_id, span.chunk_from)
        details = jobs.get(connection, claim.job_id).details
    ruler = context.weights.passage_ruler(model)
    timed = [TimedText(segment.start_s, segment.end_s, segment.text) for segment in segments]
    chapters = details.chapters if isinstance(details, MediaDetails) else ()
    return moved(from_segments(timed, ruler.count, ruler.max_tokens, chapters=chapters), flow_chars(said_before))


def _language(context: Context, claim: Claim) -> str | None:
    """What a recording is in; the language of a document is stored with its passages already."""
    if claim.kind is JobKind.DOCUMENT:
        return None
    with context.database.transaction() as connection:
        return spoken_language(passage_store.heard_languages(connection, claim.job_id))


def embed_query(context: Context, text: str) -> dict[str, Any]:
    """The vector of a search query and the model that made it; shape (dimensions,)."""
    model = context.query_model
    with context.pool.use(model, ModelKind.EMBEDDING) as engine:
        return {"model": model, "vector": engine.embed([text], query=True)[0].tolist()}
