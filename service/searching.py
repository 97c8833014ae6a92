"""One search from the query to the hits: the vector asked for, both halves looked up, fused, and read.

`routes.search` hands over what was asked; `core.search` has the rules, `core.store.search` the statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import SearchUnavailable
from core.search import CANDIDATES, Asked, SearchMode, fused, overlap, parse
from core.store import search as search_store
from core.store.accounts import Account
from core.store.keywords import keywords_of, words_that_match
from core.store.search import Hit, QueryVector, Scope
from service.deps import Service
from service.forms import SearchIn
from service.query_vector import query_vector

_SPARE = 2
"""Times as many passages are read as are answered: neighbours that share text with a better hit are left out."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit with its score in the mode of the search, at most 1."""

    hit: Hit
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The best hits first, the words of theirs that the query asked for, and by what they were really found."""

    hits: Sequence[Ranked]
    matched: frozenset[str]
    mode: SearchMode


def search(service: Service, account: Account, wanted: SearchIn) -> Answer:
    """The answer to a search. Raises `SearchUnavailable` for a semantic one whose vector nobody makes in time."""
    asked = parse(wanted.query)
    mode, vector = _vector(service, wanted, asked)
    scope = Scope(
        account_id=account.id,
        kind=wanted.kind,
        job_ids=wanted.job_ids,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
        metadata=wanted.metadata,
    )
    with service.database.transaction() as connection:
        keywords = keywords_of(connection, account.id, asked)
        wide = max(CANDIDATES, wanted.limit * _SPARE)
        by_meaning = search_store.nearest(connection, scope, vector, keywords, wide) if vector else ()
        by_words = search_store.matching(connection, scope, keywords, wide) if mode is not SearchMode.SEMANTIC else ()
        scores = fused(by_meaning, by_words) if mode is SearchMode.HYBRID else dict((*by_meaning, *by_words))
        ids = list(scores)[: wanted.limit * _SPARE]
        shown = keywords if mode is not SearchMode.SEMANTIC else None
        hits = search_store.read(connection, scope, ids, vector, shown)
        best = _without_neighbours(hits)[: wanted.limit]
        matched = words_that_match(connection, keywords, [hit.passage.text for hit in best])
    return Answer([Ranked(hit, scores[hit.passage_id]) for hit in best], frozenset(matched), mode)


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


def _without_neighbours(hits: Sequence[Hit]) -> list[Hit]:
    """The hits without those that share text with a better one."""
    kept: list[Hit] = []
    for hit in hits:
        if not any(hit.job_id == better.job_id and overlap(hit.passage, better.passage) for better in kept):
            kept.append(hit)
    return kept
