"""One search from the query to the hits: the vector asked for, both halves looked up, fused, read, and re-ranked.

`routes.search` hands over what was asked; `core.search` has the rules, `core.store.search` the statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.errors import NoReranker, SearchUnavailable
from core.search import CANDIDATES, RERANKED, Asked, SearchMode, fused, overlap, parse, reordered
from core.store import search as search_store
from core.store.accounts import Account
from core.store.keywords import keywords_of, words_that_match
from core.store.search import Hit, QueryVector, Scope
from service.deps import Service
from service.forms import SearchIn
from service.query_vector import query_vector
from service.reranking import RerankRequest, scores_of

_SPARE = 2
"""Times as many passages are read as are answered: neighbours that share text with a better hit are left out."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit with its score in the mode of the search, at most 1, and that of the re-ranker if it has read it."""

    hit: Hit
    score: float
    rerank: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The best hits first, the words of theirs that the query asked for, and by what they were really found.

    `rerank_failed`: they should have been re-ranked, and nobody did it in time.
    """

    hits: Sequence[Ranked]
    matched: frozenset[str]
    mode: SearchMode
    rerank_failed: bool = False


def search(service: Service, account: Account, wanted: SearchIn) -> Answer:
    """The answer to a search. Raises `SearchUnavailable` for a semantic one whose vector nobody makes in time.

    Raises `NoReranker` where re-ranking is asked for and no model is configured.
    """
    rerank_s = _rerank_timeout_s(service, wanted)
    asked = parse(wanted.query)
    found = _found(service, account, wanted, asked, most=wanted.limit if rerank_s is None else RERANKED)
    if rerank_s is not None and found.mode is not wanted.mode:
        found = replace(found, rerank_failed=True)  # who did not read the query reads no passages either
    elif rerank_s is not None and found.hits:
        found = _reranked(service, found, _to_read(account, asked.words or wanted.query, found), rerank_s)
    return replace(found, hits=found.hits[: wanted.limit])


def _rerank_timeout_s(service: Service, wanted: SearchIn) -> float | None:
    """How long to wait for the re-ranker; None: it is not asked."""
    if wanted.rerank and service.rerank_timeout_s is None:
        raise NoReranker
    return None if wanted.rerank is False else service.rerank_timeout_s


def _found(service: Service, account: Account, wanted: SearchIn, asked: Asked, most: int) -> Answer:
    """At least `most` hits, and what the search asks for, if there are so many; in the order of the mode."""
    mode, vector = _vector(service, wanted, asked)
    scope = Scope(
        account_id=account.id,
        kind=wanted.kind,
        job_ids=wanted.job_ids,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
        metadata=wanted.metadata,
    )
    limit = max(wanted.limit, most)
    with service.database.transaction() as connection:
        keywords = keywords_of(connection, account.id, asked, weigh=mode is not SearchMode.SEMANTIC)
        wide = max(CANDIDATES, limit * _SPARE)
        by_meaning = search_store.nearest(connection, scope, vector, keywords, wide) if vector else ()
        by_words = search_store.matching(connection, scope, keywords, wide) if mode is not SearchMode.SEMANTIC else ()
        scores = fused(by_meaning, by_words) if mode is SearchMode.HYBRID else dict((*by_meaning, *by_words))
        ids = list(scores)[: limit * _SPARE]
        shown = keywords if mode is not SearchMode.SEMANTIC else None
        hits = search_store.read(connection, scope, ids, vector, shown)
        best = without_neighbours(hits)[:limit]
        matched = words_that_match(connection, keywords, [hit.passage.text for hit in best])
    return Answer([Ranked(hit, scores[hit.passage_id]) for hit in best], frozenset(matched), mode)


def _to_read(account: Account, query: str, found: Answer) -> RerankRequest:
    return RerankRequest(account.id, query, [one.hit.passage_id for one in found.hits[:RERANKED]])


def _reranked(service: Service, found: Answer, request: RerankRequest, timeout_s: float) -> Answer:
    """The same hits in the order of the re-ranker; as they were if it does not answer in time."""
    try:
        scores = scores_of(service.celery, request, timeout_s)
    except SearchUnavailable:
        return replace(found, rerank_failed=True)
    known = {one.hit.passage_id: replace(one, rerank=scores.get(one.hit.passage_id)) for one in found.hits}
    return replace(found, hits=[known[passage_id] for passage_id in reordered(list(known), scores)])


def _vector(service: Service, wanted: SearchIn, asked: Asked) -> tuple[SearchMode, QueryVector | None]:
    """The mode that the search can be done in, and the query's vector where that takes one."""
    if wanted.mode is SearchMode.KEYWORD:
        return wanted.mode, None
    try:
        return wanted.mode, query_vector(service.celery, asked.words or wanted.query, service.query_timeout_s)
    except SearchUnavailable:
        if wanted.mode is SearchMode.SEMANTIC:
            raise
        return SearchMode.KEYWORD, None


def without_neighbours(hits: Sequence[Hit]) -> list[Hit]:
    """The hits without those that share text with a better one."""
    kept: list[Hit] = []
    for hit in hits:
        if not any(hit.job_id == better.job_id and overlap(hit.passage, better.passage) for better in kept):
            kept.append(hit)
    return kept
