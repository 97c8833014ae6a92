"""Each embedding model with many vectors has one index, made while others write, and anew where it broke."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa

from core.errors import ModelUnavailable
from core.store import vector_indexes
from core.store.accounts import Account
from core.store.session import Database
from core.store.vector_indexes import name_of
from tests.integration import work
from tests.integration.reindexed import OLD, document
from tests.waiting import until

MANY = 3
NASTY = """Robert'); DROP TABLE "vectors"; -- %s :x ü"""


def renew(database: Database) -> int:
    return vector_indexes.renew(database, worth_it=MANY)


def indexes(database: Database) -> dict[str, bool]:
    """Of the vectors' own indexes: their names, and whether each can be used."""
    query = """
        SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = 'vectors'::regclass AND starts_with(c.relname, 'vectors_hnsw')
    """
    return {row.relname: row.indisvalid for row in work.execute(database, query)}


def test_a_model_gets_its_index_once_it_has_many_vectors(database: Database, account: Account) -> None:
    document(database, account, "1", "2")
    assert (renew(database), indexes(database)) == (0, {})
    document(database, account, "3")
    document(database, account, "4", model=NASTY)

    assert [renew(database), renew(database)] == [1, 0]
    assert indexes(database) == {name_of(OLD): True}


def test_whatever_a_model_is_called_its_index_has_a_name_of_its_own(database: Database, account: Account) -> None:
    models = (NASTY, NASTY.upper(), "m" * 300, "m" * 301)
    for model in models:
        document(database, account, "1", "2", "3", model=model)

    assert renew(database) == 4
    assert set(indexes(database)) == {name_of(model) for model in models}
    assert all(len(name.encode()) <= 63 for name in indexes(database))


def test_a_search_by_the_model_can_use_it(database: Database, account: Account) -> None:
    document(database, account, "1", "2", "3")
    renew(database)

    nearest = "ORDER BY (vector::vector(3)) <=> '[1,0,0]' LIMIT 1"
    with database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        connection.execute(sa.text("SET LOCAL enable_bitmapscan = off"))
        plan = connection.execute(sa.text(f"EXPLAIN SELECT FROM vectors WHERE model = '{OLD}' {nearest}")).scalars()
        assert name_of(OLD) in "\n".join(plan)


def test_an_index_that_was_interrupted_is_built_anew(database: Database, account: Account) -> None:
    document(database, account, "1", "2", "3")
    renew(database)
    broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST(:name AS regclass)"
    work.execute(database, broken, name=name_of(OLD))

    assert renew(database) == 2
    assert indexes(database) == {name_of(OLD): True}


def test_the_index_goes_with_the_last_vector_and_not_before(database: Database, account: Account) -> None:
    document(database, account, "1", "2", "3")
    renew(database)
    work.execute(database, "DELETE FROM passages WHERE text <> '3'")
    assert (renew(database), len(indexes(database))) == (0, 1)
    work.execute(database, "DELETE FROM passages")

    assert (renew(database), indexes(database)) == (1, {})


def test_vectors_too_long_for_an_index_are_searched_without(database: Database, account: Account) -> None:
    document(database, account, "1", "2", "3")
    long = "SELECT id, 'long', account_id, array_fill(0.5, ARRAY[2001])::vector FROM passages"
    work.execute(database, f"INSERT INTO vectors (passage_id, model, account_id, vector) {long}")

    assert [renew(database), renew(database)] == [1, 0]
    assert indexes(database) == {name_of(OLD): True}


def test_a_build_holds_no_writer_up_is_done_by_one_alone_and_may_take_longer_than_any_transaction(
    database: Database, database_url: str, account: Account
) -> None:
    document(database, account, "1", "2", "3")
    building = """
        SELECT FROM pg_stat_activity
        WHERE query LIKE '%CREATE INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()
          AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '1 second'
    """
    with closing(Database(database_url, transaction_s=0.2)) as hasty, ThreadPoolExecutor(1) as threads:
        with database.transaction() as connection:  # a build waits for those who write when it begins
            connection.execute(sa.text("UPDATE vectors SET made_at = now()"))
            built = threads.submit(renew, hasty)
            until(lambda: work.execute(database, building))
            document(database, account, "4")
            assert renew(database) == 0
        assert built.result(30) == 1
    assert indexes(database) == {name_of(OLD): True}


def test_the_session_that_builds_leaves_none_of_its_settings_behind(database_url: str) -> None:
    shown = "SELECT current_setting('transaction_timeout'), current_setting('maintenance_work_mem')"
    with closing(Database(database_url, pool_size=1)) as own:
        (before,) = work.execute(own, shown)
        renew(own)
        (after,) = work.execute(own, shown)

    assert after == before
    assert tuple(before) == ("1min", "64MB")


def test_a_vector_that_is_not_as_long_as_the_others_of_its_model_is_refused(
    database: Database, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    document(database, account, "1")
    monkeypatch.setattr(work, "VECTOR", [1.0, 0.0])

    with pytest.raises(ModelUnavailable, match="a vector of old has 3 dimensions, not 2"):
        document(database, account, "2")
    document(database, account, "3", model="another")


def test_two_who_store_the_first_vectors_of_a_model_agree_on_their_length(database: Database, account: Account) -> None:
    document(database, account, "1", "2")
    first, second = [row.id for row in work.execute(database, "SELECT id FROM passages ORDER BY id")]

    def store(passage_id: int, vector: str) -> None:
        row = "(passage_id, model, account_id, vector) VALUES (:passage, 'new', :account, CAST(:vector AS vector))"
        work.execute(database, f"INSERT INTO vectors {row}", passage=passage_id, account=account.id, vector=vector)

    answers = work.together(2, lambda: store(first, "[1,0]"), lambda: store(second, "[1,0,0,0]"))

    assert len([answer for answer in answers if answer is None]) == 1
    assert len(work.execute(database, "SELECT FROM vectors WHERE model = 'new'")) == 1
