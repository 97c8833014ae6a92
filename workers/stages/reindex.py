"""Embed all passages anew with another model: the three stages of a reindex.

    plan (prepare) → ranges of passages that lack a vector of the model → embed → assemble: say what is left

Searches go on with the model that they have. A passage of a job that is in work is not embedded: that job does it, or
the next reindex. Each chunk looks by itself what its range lacks, so a reindex goes on wherever a worker has died.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.job import JobWarning
from core.store import reindexes
from core.store.chunks import Claim
from core.store.results import Assembled, Prepared, Reembedded
from core.work import PassageRange
from models.registry import ModelKind
from workers.lease import Lease
from workers.stages.context import Context

PASSAGES_PER_CHUNK = 128
"""About ten seconds of embedding on two CPU cores: an express job waits for no more than that."""


def plan(context: Context, claim: Claim, lease: Lease) -> Prepared:
    """Find what is to be embedded. Fails at once if the model cannot be had."""
    model = model_of(claim)
    context.weights.passage_ruler(model)
    lease.progress()
    with context.database.transaction() as connection:
        return Prepared(reindexes.missing(connection, model, at_once=PASSAGES_PER_CHUNK))


def embed(context: Context, claim: Claim, lease: Lease) -> Reembedded:
    """The vectors of a range of passages, of those that still lack one."""
    assert isinstance(claim.work, PassageRange)
    model = model_of(claim)
    with context.database.transaction() as connection:
        texts = reindexes.texts_of(connection, model, claim.work)
    ruler = context.weights.passage_ruler(model)
    n_cut = sum(ruler.count(text) > ruler.max_tokens for text in texts.values())
    vectors: dict[int, list[float]] = {}
    if texts:
        with context.pool.use(model, ModelKind.EMBEDDING) as engine:
            once = list(dict.fromkeys(texts.values()))
            made = dict(zip(once, engine.embed(once, on_batch=lease.progress).tolist(), strict=True))
            vectors = {id_: made[text] for id_, text in texts.items()}
    return Reembedded(vectors, model, n_cut)


def assemble(context: Context, claim: Claim) -> Assembled:
    """Warn about what the model reads only the beginning of, and about what lacks a vector of it by now."""
    with context.database.transaction() as connection:
        n_cut = reindexes.count_cut(connection, claim.job_id)
        n_left = reindexes.count_missing(connection, model_of(claim))
    return Assembled(list(_warnings(n_cut, n_left)))


def model_of(claim: Claim) -> str:
    """The model that is embedded with: a reindex always names it."""
    assert claim.options.model is not None
    return claim.options.model


def _warnings(n_cut: int, n_left: int) -> Iterator[JobWarning]:
    if n_cut:
        message = f"{n_cut} passages are longer than the model reads; their vectors are of their beginnings."
        yield JobWarning("passages_cut", message)
    if n_left:
        message = f"{n_left} passages still lack a vector, of jobs that are in work or came meanwhile; reindex again."
        yield JobWarning("passages_left", message)
