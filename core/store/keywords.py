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
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSQUERY
from sqlalchemy.engine import Connection

from core.search import Asked, words_of
from core.stemmers import UNKNOWN
from core.store.tables import passages

COUNTED = 10_000
"""Passages that are counted at most, in all and for each word: a word in so many tells nothing."""

MOST_TERMS = 32
"""Words of a query that are looked for, the first ones: each is counted, and looked for in what the others find."""

_NUMBER_BEHIND_A_SIGN = re.compile(r"[-/](?=[0-9])")  # as in the function passage_tsv


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the query: its stems as a tsquery, and how much it says."""

    query: str
    weight: float


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
        return _either(term.query for term in self.terms)

    @property
    def any_rare_term(self) -> str:
        """A passage that holds a word which says something; any word where none does."""
        return _either(term.query for term in self.terms if term.weight > _SAYS_NOTHING) or self.any_term


_SAYS_NOTHING = math.log(1 + 0.5 / (COUNTED + 0.5))


def keywords_of(connection: Connection, account_id: UUID, asked: Asked) -> Keywords:
    """The query as the account's passages would have stored it."""
    stemmers = _stemmers(connection, account_id)
    terms = _terms(connection, stemmers, asked.words)
    return Keywords(
        terms=tuple(_weighed(connection, account_id, terms)),
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
    terms = (_either(map(_quoted, sorted(stems[place]))) for place in sorted(telling))
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
    own = sa.select(sa.literal(1)).select_from(passages).where(passages.c.account_id == account_id)
    n_all = connection.scalar(sa.select(sa.func.count()).select_from(own.limit(COUNTED).subquery())) or 0
    weighed = []
    for term in terms:
        holding = own.where(passages.c.tsv.bool_op("@@")(sa.cast(term, TSQUERY))).limit(COUNTED)
        n = connection.scalar(sa.select(sa.func.count()).select_from(holding.subquery())) or 0
        weighed.append(Term(term, math.log(1 + (n_all - n + 0.5) / (n + 0.5))))
    return weighed


def _phrase(connection: Connection, stemmers: Sequence[str], phrase: str) -> Phrase:
    plain = _NUMBER_BEHIND_A_SIGN.sub(" ", phrase)
    read = (sa.cast(sa.func.phraseto_tsquery(sa.cast(name, REGCONFIG), plain), sa.Text) for name in stemmers)
    return Phrase(
        phrase, tuple(zip(stemmers, (connection.scalar(sa.select(query)) or "" for query in read), strict=True))
    )


def _either(queries: Iterable[str]) -> str:
    return " | ".join(f"({query})" for query in queries)


def _quoted(lexeme: str) -> str:
    """A lexeme as the text of a tsquery has it, whatever characters it is of."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
