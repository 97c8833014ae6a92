"""What the words of a query are in the index: the stems under which passages were stored, and how rare each is.

A query has no language of its own. Each of its words is looked for as every stemmer of the account's passages would
have stored it; a word that one of them passes over (`the`, `der`) says nothing. PostgreSQL's ranking does not know
how rare a word is, and a question asked in full has many that are not: so the weight of each is taken from how many of
the account's passages hold it, as BM25 does (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSQUERY, distinct_on
from sqlalchemy.engine import Connection

from core.search import Asked, words_of
from core.stemmers import UNKNOWN
from core.store.tables import passages

SAMPLE = 2_000
"""Passages of an account, drawn by chance, by which it is told how frequent a word is."""

COUNTED = 1_000
"""A word that is rare in the sample is looked up in the index, up to so many passages."""

_DIGITS = 12  # of a hash, in hexadecimal: what a float holds
_RARE = 20
"""Passages of a sample: from fewer nothing can be told but that the word is rare."""

MOST_TERMS = 32
"""Words of a query that are looked for, the first ones: each is counted, and looked for in what the others find."""

_NUMBER_BEHIND_A_SIGN = re.compile(r"[-/](?=[0-9])")  # as in the function passage_tsv


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the query: its stems as a tsquery, how much it says, and in about how many passages it stands."""

    query: str
    weight: float
    n_passages: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other: as they were written, and as each stemmer reads them, a tsquery.

    It is empty where a stemmer passes over all of them (`"to be"`): then what is written decides.
    """

    written: str
    by_stemmer: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Keywords:
    """A query in stems: what makes a passage better, what it must hold, and what it must not."""

    terms: tuple[Term, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    excluded: tuple[Phrase, ...] = ()
    stemmers: tuple[str, ...] = ()

    @property
    def any_term(self) -> str:
        """A passage that holds any word."""
        return either(term.query for term in self.terms)


def keywords_of(connection: Connection, account_id: UUID, asked: Asked, *, weigh: bool = True) -> Keywords:
    """The query as the account's passages would have stored it. Only who looks for its words has to `weigh` them."""
    stemmers = _stemmers(connection, account_id)
    terms = _terms(connection, stemmers, asked.words)
    return Keywords(
        terms=tuple(_weighed(connection, account_id, terms) if weigh else (Term(term, 1.0, 0) for term in terms)),
        phrases=tuple(_phrase(connection, stemmers, phrase) for phrase in asked.phrases),
        excluded=tuple(_phrase(connection, stemmers, word) for word in asked.excluded),
        stemmers=stemmers,
    )


def words_that_match(connection: Connection, keywords: Keywords, texts: Collection[str]) -> set[str]:
    """Those words of the texts that are the query's, whatever their endings."""
    if not keywords.terms:
        return set()
    words = sa.func.unnest(sa.cast(sorted(words_of(texts)), ARRAY(sa.Text))).table_valued("word").render_derived()
    stemmers = sa.func.unnest(sa.cast(list(keywords.stemmers), ARRAY(sa.Text))).table_valued("name").render_derived()
    stems = sa.func.passage_tsv(stemmers.c.name, words.c.word)
    holds = stems.bool_op("@@")(sa.cast(keywords.any_term, TSQUERY))
    return set(connection.scalars(sa.select(words.c.word).join(stemmers, holds)))


def _stemmers(connection: Connection, account_id: UUID) -> tuple[str, ...]:
    """Those of the account's passages: one look-up each, not one of every passage."""
    first = sa.select(sa.func.min(passages.c.stemmer).label("name")).where(passages.c.account_id == account_id)
    found = first.cte("found", recursive=True)
    following = (
        sa.select(sa.func.min(passages.c.stemmer))
        .where(passages.c.account_id == account_id, passages.c.stemmer > found.c.name)
        .scalar_subquery()
    )
    found = found.union_all(sa.select(following).where(found.c.name.is_not(None)))
    return tuple(connection.scalars(sa.select(found.c.name).where(found.c.name.is_not(None))))


def _terms(connection: Connection, stemmers: Sequence[str], words: str) -> list[str]:
    """A tsquery for each word that says something, in the order of the query: for every word if none does."""
    stems: dict[int, set[str]] = {}
    all_places, passed_over = set(_stems(connection, UNKNOWN, words)), set()
    for name in stemmers:
        found = _stems(connection, name, words)
        passed_over |= all_places - found.keys()
        for place, lexemes in found.items():
            stems.setdefault(place, set()).update(lexemes)
    telling = stems.keys() - passed_over or stems.keys()
    terms = (either(map(_quoted, sorted(stems[place]))) for place in sorted(telling))
    return list(dict.fromkeys(terms))[:MOST_TERMS]


def _stems(connection: Connection, stemmer: str, words: str) -> dict[int, list[str]]:
    """The lexemes at each place of the query. What the stemmer passes over has none, but counts as a place."""
    at = sa.func.unnest(sa.func.passage_tsv(stemmer, words)).table_valued("lexeme", "positions", "weights")
    places: dict[int, list[str]] = {}
    for lexeme, positions in connection.execute(sa.select(at.c.lexeme, sa.cast(at.c.positions, ARRAY(sa.Integer)))):
        for place in positions:
            places.setdefault(place, []).append(lexeme)
    return places


def _weighed(connection: Connection, account_id: UUID, terms: Sequence[str]) -> list[Term]:
    """The terms with what they weigh among the account's passages."""
    if not terms:
        return []
    n_drawn, n_all, held = _drawn(connection, account_id, terms)
    weighed = []
    for term, n_held in zip(terms, held, strict=True):
        n = n_held * n_all // max(n_drawn, 1)
        if n_drawn == SAMPLE and n_held < _RARE:
            counted = _n_passages(connection, account_id, term)
            n = counted if counted < COUNTED else max(counted, n)
        weighed.append(Term(term, math.log(1 + (n_all - n + 0.5) / (n + 0.5)), n))
    return weighed


def _drawn(connection: Connection, account_id: UUID, terms: Sequence[str]) -> tuple[int, int, Sequence[int]]:
    """A sample of the account's different passages, all if they are not so many: its size, how many there are in all,
    and how many of the sample hold each term.

    Hashes of texts fall anywhere: those with the smallest are a sample, which an index has in order, and how far the
    last of so many is from nothing tells how many there are (Bar-Yossef et al., Counting Distinct Elements in a Data
    Stream, 2002).
    """
    place = sa.func.md5(passages.c.text)
    sample = sa.select(passages.c.tsv, place.label("place")).where(passages.c.account_id == account_id)
    drawn = sample.ext(distinct_on(place)).order_by(place).limit(SAMPLE).subquery()
    held = [sa.func.count().filter(drawn.c.tsv.bool_op("@@")(sa.cast(term, TSQUERY))) for term in terms]
    n_drawn, last, *counts = connection.execute(sa.select(sa.func.count(), sa.func.max(drawn.c.place), *held)).one()
    if n_drawn < SAMPLE:
        return n_drawn, n_drawn, counts
    reached = (int(last[:_DIGITS], 16) + 1) / 16**_DIGITS
    return n_drawn, max(n_drawn, round(n_drawn / reached)), counts


def _n_passages(connection: Connection, account_id: UUID, term: str) -> int:
    """How many hold the term, `COUNTED` at most."""
    own = sa.select(sa.literal(1)).select_from(passages).where(passages.c.account_id == account_id)
    holding = own.where(passages.c.tsv.bool_op("@@")(sa.cast(term, TSQUERY))).limit(COUNTED)
    return connection.scalar(sa.select(sa.func.count()).select_from(holding.subquery())) or 0


def _phrase(connection: Connection, stemmers: Sequence[str], phrase: str) -> Phrase:
    plain = _NUMBER_BEHIND_A_SIGN.sub(" ", phrase)
    read = (sa.cast(sa.func.phraseto_tsquery(sa.cast(name, REGCONFIG), plain), sa.Text) for name in stemmers)
    return Phrase(
        phrase, tuple(zip(stemmers, (connection.scalar(sa.select(query)) or "" for query in read), strict=True))
    )


def either(queries: Iterable[str]) -> str:
    """A tsquery that asks for any of these."""
    return " | ".join(f"({query})" for query in queries)


def all_of(queries: Iterable[str]) -> str:
    """A tsquery that asks for all of these."""
    return " & ".join(f"({query})" for query in queries)


def _quoted(lexeme: str) -> str:
    """A lexeme as the text of a tsquery has it, whatever characters it is of."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
