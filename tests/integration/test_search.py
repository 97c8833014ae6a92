"""Both halves of a search against a real PostgreSQL: what is found, in which order, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from core.job import JobKind
from core.search import parse
from core.stemmers import STEMMERS
from core.store import keywords, search
from core.store.accounts import Account
from core.store.keywords import Keywords, Term, keywords_of, words_that_match
from core.store.search import Hit, QueryVector, Scope, matching, nearest, read
from core.store.session import Database
from tests.integration import work

EAST, NORTH = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
TIDES = "The tides follow the moon. High water comes fifty minutes later every day."
BREAD = "Knead the dough for ten minutes, then let the bread rise near the oven."
PUMP = "Replace the seal of pump K-2041/B at 12.5 bar. The tide gate stays closed."


@pytest.fixture
def ada(database: Database) -> Account:
    return work.open_account(database, "ada")


def document(
    database: Database,
    account: Account,
    *texts: str,
    language: str | None = "en",
    vectors: Sequence[Sequence[float]] = (),
) -> UUID:
    """A document that is done; each text is a passage on a page of its own."""
    passages = [work.passage(text, page) for page, text in enumerate(texts, 1)]
    return work.searchable(database, account, passages, vectors, language)


def by_words(database: Database, account: Account, query: str, scope: Scope | None = None) -> list[str]:
    """The texts that the words of a query find, best first."""
    scope = scope or Scope(account.id)
    with database.transaction() as connection:
        keywords = keywords_of(connection, account.id, parse(query))
        found = matching(connection, scope, keywords, 10)
        return [hit.passage.text for hit in read(connection, scope, dict(found), None, keywords)]


def by_meaning(
    database: Database, account: Account, vector: Sequence[float], scope: Scope | None = None, query: str = ""
) -> list[Hit]:
    scope = scope or Scope(account.id)
    asked = QueryVector(work.MODEL, vector)
    with database.transaction() as connection:
        keywords = keywords_of(connection, account.id, parse(query))
        return read(connection, scope, dict(nearest(connection, scope, asked, keywords, 10)), asked, keywords)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("tide moon", TIDES),
        ("When does high water come?", TIDES),
        ("kneading", BREAD),
        ("which pump has the number 2041", PUMP),
        ("K-2041/B", PUMP),
        ("12.5 bar", PUMP),
        ("the BREAD", BREAD),
        ("café or tide gates'", PUMP),
    ],
)
def test_words_find_the_passage_that_holds_the_rarest_of_them(
    database: Database, ada: Account, query: str, first: str
) -> None:
    document(database, ada, TIDES, BREAD, PUMP)
    assert by_words(database, ada, query)[0] == first


def terms(database: Database, account: Account, query: str) -> dict[str, Term]:
    """The words of a query by their stem, the heaviest first."""
    with database.transaction() as connection:
        found = keywords_of(connection, account.id, parse(query)).terms
    return {term.query.strip("'()"): term for term in sorted(found, key=lambda term: -term.weight)}


def test_a_word_weighs_by_how_few_passages_hold_it_counted_or_drawn_by_chance(
    database: Database, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = ["boat and rope"] * 300  # one text, however often it is stored
    document(database, ada, *(f"boat {n} {'lamp' if n % 2 else 'rope'}" for n in range(400)), "boat, kettle", *again)
    counted = terms(database, ada, "boat lamp kettle")
    monkeypatch.setattr(keywords, "SAMPLE", 100)
    drawn = terms(database, ada, "boat lamp kettle")

    assert list(counted) == list(drawn) == ["kettl", "lamp", "boat"]
    assert [term.n_passages for term in counted.values()] == [1, 200, 402]
    kettle, lamp, boat = drawn.values()
    assert kettle.n_passages == 1
    assert lamp.n_passages == pytest.approx(200, rel=0.3)
    assert boat.n_passages == pytest.approx(402, rel=0.3)
    assert kettle.weight == pytest.approx(counted["kettl"].weight, rel=0.1)


@pytest.mark.parametrize("query", ['"lamp high" boat kettle', "lamp high boat kettle"])
def test_what_is_frequent_elsewhere_is_looked_at_in_a_job_and_for_a_phrase(
    database: Database, ada: Account, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    document(database, ada, *(f"boat {n} and lamp" for n in range(30)), *(f"boat {n} too high" for n in range(30)))
    own = document(database, ada, "a lamp high above", "nothing")

    assert by_words(database, ada, query, Scope(ada.id, job_ids=[own])) == ["a lamp high above"]
    if '"' in query:
        assert by_words(database, ada, query) == ["a lamp high above"]


@pytest.mark.parametrize("query", ["boat rope kettle", "boat rope lamp kettle", "kettle"])
def test_among_many_passages_with_frequent_words_the_one_with_a_rare_word_is_found(
    database: Database, ada: Account, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    document(database, ada, *(f"boat {n} {'lamp' if n % 2 else 'rope'}" for n in range(30)), "boat and kettle")
    assert by_words(database, ada, query)[0] == "boat and kettle"


def test_of_frequent_words_alone_the_passage_with_all_of_them_comes_first(
    database: Database, ada: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "LOOKED_AT", 3)
    document(database, ada, *(f"{'lamp' if n % 2 else 'rope'} {n}" for n in range(30)), "rope and lamp")
    found = by_words(database, ada, "rope lamp")
    assert found[0] == "rope and lamp"
    assert len(found) > 1


EMPTY = [
    "",
    "the",
    "and of the",
    "!!! & | ( ) :* <->",
    "' OR 1=1 --",
    "\\",
    "'",
    '"',
    '""',
    "-",
    "a" * 2000,
    "🌊",
    "-tide",
]


@pytest.mark.parametrize("query", EMPTY)
def test_a_query_without_a_telling_word_finds_nothing_and_breaks_nothing(
    database: Database, ada: Account, query: str
) -> None:
    document(database, ada, "Nothing here but this: moon.")
    assert by_words(database, ada, query) == []


def test_a_phrase_must_stand_there_and_an_excluded_word_must_not(database: Database, ada: Account) -> None:
    document(database, ada, "High water at noon.", "Water is high up there.", "High water and fog.")
    assert set(by_words(database, ada, '"high water"')) == {"High water at noon.", "High water and fog."}
    assert by_words(database, ada, '"high water" -fogs noon') == ["High water at noon."]
    assert [hit.passage.text for hit in by_meaning(database, ada, EAST, query='"water is high"')] == [
        "Water is high up there."
    ]


def test_a_phrase_of_words_that_say_nothing_must_stand_there_as_well(database: Database, ada: Account) -> None:
    document(database, ada, "The Who played at the harbour.", "Who played here?", language="en")
    document(database, ada, "The Who played on.", language=None)

    assert set(by_words(database, ada, '"the who" played')) == {"The Who played at the harbour.", "The Who played on."}
    assert by_words(database, ada, "played -the") == ["Who played here?"]


def test_words_are_found_in_every_language_of_the_account(database: Database, ada: Account) -> None:
    document(database, ada, "Die Häuser stehen am Hafen.", language="de")
    document(database, ada, "The harbours are closed.", language="en")
    document(database, ada, "Zamknięte porty.", language="pl")
    assert by_words(database, ada, "Haus") == ["Die Häuser stehen am Hafen."]
    assert by_words(database, ada, "harbour") == ["The harbours are closed."]
    assert by_words(database, ada, "porty") == ["Zamknięte porty."]


def test_the_migration_knows_the_stemmers_that_the_rules_name(database: Database) -> None:
    for name in STEMMERS.values():
        same = "SELECT passage_tsv(:name, :text) = to_tsvector(CAST(:name AS regconfig), :text)"
        assert work.execute(database, same, name=name, text="houses Häuser maisons дома")[0][0], name


def test_highlighted_are_the_words_that_match_whatever_their_endings(database: Database, ada: Account) -> None:
    document(database, ada, TIDES)
    with database.transaction() as connection:
        keywords = keywords_of(connection, ada.id, parse("the tide's minute"))
        assert words_that_match(connection, keywords, [TIDES]) == {"tides", "minutes"}
        assert words_that_match(connection, Keywords(), [TIDES]) == set()


def test_nearest_vectors_come_first_with_their_cosine(database: Database, ada: Account) -> None:
    document(database, ada, TIDES, BREAD, vectors=[NORTH, EAST])
    hits = by_meaning(database, ada, [0.6, 0.8, 0.0])
    assert [(hit.passage.text, round(hit.semantic or 0, 3)) for hit in hits] == [(TIDES, 0.8), (BREAD, 0.6)]


def test_nobody_finds_the_passages_of_another_account(database: Database, ada: Account) -> None:
    eve = work.open_account(database, "eve")
    job_id = document(database, ada, TIDES)
    document(database, eve, "The moon is mine.")
    scope = Scope(eve.id, job_ids=[job_id])
    assert by_words(database, eve, "tides moon") == ["The moon is mine."]
    assert by_words(database, eve, "moon", scope) == []
    assert [hit.passage.text for hit in by_meaning(database, eve, EAST)] == ["The moon is mine."]
    assert by_meaning(database, eve, EAST, scope) == []
    with database.transaction() as connection:
        theirs = list(connection.scalars(sa.text("SELECT id FROM passages")))
        assert len(read(connection, Scope(eve.id), theirs, None, None)) == 1


def test_a_search_can_be_kept_to_some_jobs(database: Database, ada: Account) -> None:
    old = document(database, ada, "Moon of old.")
    new = document(database, ada, "Moon of today.")
    work.execute(database, "UPDATE jobs SET created_at = created_at - interval '9 days' WHERE id = :job", job=old)
    labelled = """UPDATE jobs SET metadata = '{"shelf": "sea", "tags": ["a", "b"]}' WHERE id = :job"""
    work.execute(database, labelled, job=new)
    week_ago = datetime.now(UTC) - timedelta(days=7)
    narrowed = {
        "Moon of today.": [
            Scope(ada.id, job_ids=[new]),
            Scope(ada.id, created_after=week_ago),
            Scope(ada.id, metadata={"shelf": "sea"}),
            Scope(ada.id, metadata={"tags": ["b"]}, kind=JobKind.DOCUMENT),
        ],
        "Moon of old.": [Scope(ada.id, created_before=week_ago), Scope(ada.id, job_ids=[old])],
    }
    for text, scopes in narrowed.items():
        for scope in scopes:
            assert by_words(database, ada, "moon", scope) == [text]
            assert [hit.passage.text for hit in by_meaning(database, ada, EAST, scope)] == [text]
    recordings, none = Scope(ada.id, kind=JobKind.TRANSCRIPTION), Scope(ada.id, job_ids=[])
    for nowhere in (recordings, none, Scope(ada.id, metadata={"x": 1})):
        assert by_words(database, ada, "moon", nowhere) == []
        assert by_meaning(database, ada, EAST, nowhere) == []


def test_an_index_over_all_accounts_loses_nobody_who_has_few_of_the_nearest(database: Database, ada: Account) -> None:
    crowd = work.open_account(database, "crowd")
    document(database, crowd, *[f"East {n}" for n in range(60)], vectors=[EAST] * 60)
    document(database, ada, TIDES, vectors=[NORTH])
    index = "CREATE INDEX ON vectors USING hnsw ((vector::vector(3)) vector_cosine_ops) WHERE model = 'fake'"
    work.execute(database, index)
    with database.transaction() as connection:
        for setting in ("hnsw.max_scan_tuples = 1", "enable_seqscan = off", "enable_sort = off"):
            connection.execute(sa.text(f"SET LOCAL {setting}"))
        found = nearest(connection, Scope(ada.id), QueryVector(work.MODEL, EAST), Keywords(), 10)
        hits = read(connection, Scope(ada.id), dict(found), None, None)

    assert [hit.passage.text for hit in hits] == [TIDES]
