"""The two halves of a search, nearest vectors and rarest words, each as ids of passages, best first; and the hits read.

The API asks in one transaction and fuses what it gets by `core.search`. Every statement begins with the account: no
passage of another one is ever looked at for its own sake. `keywords` makes of the query's words what is asked for here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.engine import Connection

from core.details import Details, from_stored
from core.job import JobKind
from core.passages import Passage
from core.search import Ranking
from core.store.keywords import Keywords, Phrase, all_of, either
from core.store.passages import passage_of_row
from core.store.tables import jobs, passages, vectors

LOOKED_AT = 2_000
"""Passages with a rare word of the query that are looked at, and as many of each of two kinds without: a frequent word
stands in so many that there is no telling them apart by it."""

_PROXIMITY = 0.1
"""What words that stand close together add to the score of a passage, at most: it decides between equals."""

_COMPARED = 4
"""For each passage wanted, so many are compared by that, the newest of equals: it takes longer than all else."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: an account's passages, or those of some of its jobs. `metadata` is what a job's must contain."""

    account_id: UUID
    kind: JobKind | None = None
    job_ids: Sequence[UUID] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, Any] | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """On the rows of `jobs`; none: all jobs of the account."""
        found: list[sa.ColumnElement[bool]] = []
        if self.kind is not None:
            found.append(jobs.c.kind == self.kind)
        if self.job_ids is not None:
            found.append(jobs.c.id.in_(self.job_ids))
        if self.created_after is not None:
            found.append(jobs.c.created_at >= self.created_after)
        if self.created_before is not None:
            found.append(jobs.c.created_at < self.created_before)
        if self.metadata:
            found.append(jobs.c.metadata.contains(self.metadata))
        return found


@dataclass(frozen=True, slots=True)
class QueryVector:
    """The query's vector, shape (dimensions,), and the model that made it: only its own are compared."""

    model: str
    vector: Sequence[float]


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, and what its job says of its source.

    `semantic` is the cosine of the angle between the query and the passage, at most 1; `keyword` the share of the
    query's words that stand in it, each counted by how rare it is, 0 to 1. None where that was not looked at.
    """

    passage_id: int
    job_id: UUID
    kind: JobKind
    name: str
    url: str | None
    details: Details
    passage: Passage
    semantic: float | None
    keyword: float | None


def nearest(connection: Connection, scope: Scope, query: QueryVector, keywords: Keywords, limit: int) -> Ranking:
    """The passages nearest in meaning, each with its cosine.

    Over a whole account by the model's vector index, if there is one; else exact. Of some jobs always exact: few of all
    vectors are theirs, and an index would look through most others for them.
    """
    conditions = [*scope.conditions(), *_required(keywords)]
    distance = _distance(query) if conditions else _indexed_distance(query)
    model = sa.literal(query.model, literal_execute=True)  # so that the plan sees which of the indexes it is
    asked = sa.select(vectors.c.passage_id, distance.label("distance"))
    asked = asked.where(vectors.c.account_id == scope.account_id, vectors.c.model == model)
    if conditions:
        asked = asked.join(passages, passages.c.id == vectors.c.passage_id).join(jobs, jobs.c.id == passages.c.job_id)
        asked = asked.where(*conditions)
    else:
        connection.execute(sa.text("SET LOCAL hnsw.iterative_scan = strict_order"))
        connection.execute(sa.text(f"SET LOCAL hnsw.ef_search = {max(40, min(limit * 2, 1000))}"))
    rows = connection.execute(asked.order_by(distance).limit(limit)).all()
    if not conditions and len(rows) < limit:  # few vectors, or the index has looked through too many of other accounts
        exact = _distance(query)
        asked = sa.select(vectors.c.passage_id, exact.label("distance"))
        asked = asked.where(vectors.c.account_id == scope.account_id, vectors.c.model == model)
        rows = connection.execute(asked.order_by(exact, vectors.c.passage_id).limit(limit)).all()
    return [(row.passage_id, 1 - row.distance) for row in rows]


def matching(connection: Connection, scope: Scope, keywords: Keywords, limit: int) -> Ranking:
    """The passages that hold the most of the query's words, the rarer ones first, each with its share of them.

    Not every passage that holds a frequent word is looked at: see `_worth_a_look`.
    """
    if not keywords.terms:
        return []
    worth = _worth_a_look(scope, keywords)
    candidates = sa.union(*(_candidates(scope, keywords, query, most) for query, most in worth)).subquery()
    share = _share(keywords).label("share")
    held = sa.select(passages.c.id, passages.c.tsv, share)
    held = held.where(passages.c.account_id == scope.account_id, passages.c.id.in_(sa.select(candidates.c.id)))
    best = held.order_by(share.desc(), passages.c.id.desc()).limit(limit * _COMPARED).subquery()
    near = sa.func.ts_rank_cd(best.c.tsv, _query(keywords.any_term), 32) * _PROXIMITY
    asked = sa.select(best.c.id, best.c.share).order_by((best.c.share + near).desc(), best.c.id).limit(limit)
    return [(row.id, row.share) for row in connection.execute(asked)]


def _worth_a_look(scope: Scope, keywords: Keywords) -> Iterator[tuple[str, int]]:
    """What a passage has to hold one of, and how many such passages are looked at.

    A rare word (more of those than the counts, which are estimates, promise); all of the frequent ones, or the least
    frequent of them. Where only some jobs or a phrase are asked for, what is frequent elsewhere may be rare: there any
    word will do.
    """
    ordered = sorted(keywords.terms, key=lambda term: term.n_passages)
    up_to = accumulate(term.n_passages for term in ordered)
    n_rare = sum(n <= LOOKED_AT for n in up_to)
    rare, frequent = ordered[:n_rare], ordered[n_rare:]
    if rare:
        yield either(term.query for term in rare), 2 * LOOKED_AT
    if frequent:
        yield all_of(term.query for term in frequent), LOOKED_AT
        is_narrow = scope.conditions() or keywords.phrases
        yield keywords.any_term if is_narrow else frequent[0].query, LOOKED_AT


def _candidates(scope: Scope, keywords: Keywords, query: str, most: int) -> sa.Select[Any]:
    """Passages that a tsquery finds."""
    found = sa.select(passages.c.id).where(passages.c.account_id == scope.account_id)
    found = found.where(passages.c.tsv.bool_op("@@")(_query(query)), *_required(keywords))
    if conditions := scope.conditions():
        found = found.join(jobs, jobs.c.id == passages.c.job_id).where(*conditions)
    return sa.select(found.limit(most).subquery())


def read(
    connection: Connection, scope: Scope, ids: Collection[int], query: QueryVector | None, keywords: Keywords | None
) -> list[Hit]:
    """These passages, in this order, with what each half of the search says of them."""
    semantic: sa.ColumnElement[Any] = sa.null() if query is None else 1 - _distance(query)
    keyword: sa.ColumnElement[Any] = sa.null() if keywords is None or not keywords.terms else _share(keywords)
    model = "" if query is None else query.model
    own = sa.and_(vectors.c.passage_id == passages.c.id, vectors.c.model == model)
    asked = (
        sa.select(
            *(passages, jobs.c.kind, jobs.c.input_name, jobs.c.input_url, jobs.c.details),
            *(semantic.label("semantic"), keyword.label("keyword")),
        )
        .join(jobs, jobs.c.id == passages.c.job_id)
        .outerjoin(vectors, own)
        .where(passages.c.account_id == scope.account_id, passages.c.id.in_(list(ids)))
    )
    hits = {
        row.id: Hit(
            passage_id=row.id,
            job_id=row.job_id,
            kind=(kind := JobKind(row.kind)),
            name=row.input_name,
            url=row.input_url,
            details=from_stored(kind, row.details),
            passage=passage_of_row(row),
            semantic=row.semantic,
            keyword=row.keyword,
        )
        for row in connection.execute(asked)
    }
    return [hits[passage_id] for passage_id in ids if passage_id in hits]


def _distance(query: QueryVector) -> sa.ColumnElement[float]:
    distance: sa.ColumnElement[float] = vectors.c.vector.cosine_distance(list(query.vector))
    return distance


def _indexed_distance(query: QueryVector) -> sa.ColumnElement[float]:
    """The same, in the words of the expression that `core.store.vector_indexes` makes an index of."""
    fixed = Vector(len(query.vector))
    return sa.cast(vectors.c.vector, fixed).op("<=>", return_type=sa.Float())(sa.cast(list(query.vector), fixed))


def _required(keywords: Keywords) -> list[sa.ColumnElement[bool]]:
    return [*map(_holds, keywords.phrases), *(sa.not_(_holds(word)) for word in keywords.excluded)]


def _holds(phrase: Phrase) -> sa.ColumnElement[bool]:
    """Whether a passage holds the phrase, as its own stemmer reads it."""
    written = passages.c.text.regexp_match(rf"\m{re.escape(phrase.written)}\M", flags="i")
    return sa.or_(
        sa.false(),
        *(
            sa.and_(passages.c.stemmer == name, passages.c.tsv.bool_op("@@")(_query(query)) if query else written)
            for name, query in phrase.by_stemmer
        ),
    )


def _share(keywords: Keywords) -> sa.ColumnElement[float]:
    """Of the weight of all terms, that of those which the passage holds."""
    total = sum(term.weight for term in keywords.terms)
    held = (
        sa.case((passages.c.tsv.bool_op("@@")(_query(term.query)), term.weight / total), else_=0.0)
        for term in keywords.terms
    )
    return reduce(add, held)


def _query(text: str) -> sa.ColumnElement[Any]:
    return sa.cast(text, TSQUERY)
