"""All passages are embedded anew with another model, while searches go on, whatever happens in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from core.dispatch import Dispatcher
from core.errors import Conflict, Internal, Misconfigured
from core.job import JobStatus, Stage
from core.store import completion, interventions
from core.store.accounts import Account
from core.store.chunks import Orphan
from core.store.keywords import Keywords
from core.store.search import QueryVector, Scope, nearest, read
from core.store.session import Database
from models.fake import FakeEmbedder
from models.pool import Pool
from tests.conftest import write_tiers
from tests.integration import reindexed, work
from tests.integration.reindexed import NEW, OLD, begin, document, embedded, finish
from tests.integration.worker import context, working
from workers import runtime
from workers.attempts import Attempts
from workers.stages import reindex


class Noting(FakeEmbedder):
    """Notes what it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        self.texts += texts
        return super().embed(texts, query=query, on_batch=on_batch)


@pytest.fixture
def engine() -> Noting:
    return Noting()


@pytest.fixture
def operator(database: Database) -> Account:
    return work.open_account(database, "ops", operator=True)


@pytest.fixture
def attempts(
    dispatcher: Dispatcher, tmp_path: Path, engine: Noting, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Attempts]:
    """A worker that embeds two passages a chunk."""
    monkeypatch.setattr(reindex, "PASSAGES_PER_CHUNK", 2)
    real = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    with working(replace(real, pool=Pool(lambda name, kind: engine, math.inf))) as attempts:
        yield attempts


def found(database: Database, account: Account, text: str, model: str = NEW) -> list[str]:
    """What a search finds, best first."""
    vector = FakeEmbedder().embed([text])[0].tolist() if model == NEW else work.VECTOR
    with database.transaction() as connection:
        scope, wanted = Scope(account.id), QueryVector(model, vector)
        hits = read(connection, scope, dict(nearest(connection, scope, wanted, Keywords(), 10)), wanted, None)
    return [hit.passage.text for hit in hits]


def test_the_passages_of_all_accounts_get_a_vector_of_the_new_model_each_in_its_own_account(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    document(database, account, "The moon.", "The sun.", "The tide.")
    document(database, work.open_account(database, "bob"), "Bread.")

    job_id = begin(database, operator)
    finish(attempts, job_id)

    job = work.job(database, job_id)
    assert (job.status, job.chunks_done, job.chunks_total, job.warnings) == (JobStatus.COMPLETED, 2, 2, [])
    assert embedded(database) == embedded(database, OLD) == ["The moon.", "The sun.", "The tide.", "Bread."]
    assert found(database, account, "The tide.")[0] == "The tide."
    assert "Bread." not in found(database, account, "Bread.")


def test_it_costs_no_quota(attempts: Attempts, database: Database, account: Account, operator: Account) -> None:
    document(database, account, "The moon.")
    before = work.execute(database, "SELECT count(*) FROM usage_events")

    finish(attempts, begin(database, operator))

    assert work.execute(database, "SELECT count(*) FROM usage_events") == before


def test_searches_are_answered_with_the_old_model_all_the_while(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    document(database, account, "The moon.", "The sun.", "The tide.")
    before = found(database, account, "", OLD)
    job_id = begin(database, operator)

    seen = []
    while queued := work.queued(database, job_id):
        attempts.work(queued[0])
        seen.append(found(database, account, "", OLD))

    assert len(before) == 3
    assert seen == [before] * 4  # after prepare, two chunks, assemble


def test_a_worker_that_dies_between_chunks_costs_no_chunk_twice(
    attempts: Attempts, database: Database, account: Account, operator: Account, engine: Noting
) -> None:
    document(database, account, "1", "2", "3", "4", "5")
    job_id = begin(database, operator)
    for _ in range(2):  # prepare, and the first chunk
        attempts.work(work.queued(database, job_id)[0])
    lost = work.claim_one(database, job_id, worker_id="dead/0")
    with database.transaction() as connection:
        orphan = Orphan(lost.chunk_id, lost.job_id, lost.attempt, known_dead=True)
        completion.rescue(connection, orphan, max_failures=3)

    finish(attempts, job_id)

    assert work.job(database, job_id).status is JobStatus.COMPLETED
    assert sorted(engine.texts) == sorted(embedded(database)) == ["1", "2", "3", "4", "5"]


def test_what_is_erased_meanwhile_is_passed_over(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    gone, _ = document(database, account, "1", "2", "3"), document(database, account, "4")
    job_id = begin(database, operator)
    attempts.work(work.queued(database, job_id)[0])
    with database.transaction() as connection:
        interventions.delete(connection, gone, account.id)

    finish(attempts, job_id)

    job = work.job(database, job_id)
    assert (job.status, embedded(database), job.warnings) == (JobStatus.COMPLETED, ["4"], [])


def test_what_is_being_erased_is_not_waited_for(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    document(database, account, "1", "2")
    job_id = begin(database, operator)
    attempts.work(work.queued(database, job_id)[0])
    with database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM passages WHERE text = '1'"))
        finish(attempts, job_id)

        assert embedded(database) == ["2"]


def test_many_that_are_erased_while_they_are_embedded_are_in_nobodys_way(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    documents = [document(database, account, *(f"{n} {ordinal}" for ordinal in range(4))) for n in range(8)]
    job_id = begin(database, operator)
    attempts.work(work.queued(database, job_id)[0])

    def erase(document_id: UUID) -> None:
        with database.transaction() as connection:
            interventions.delete(connection, document_id, account.id)

    embedding = [lambda one=one: attempts.work(one) for one in work.queued(database, job_id)]
    erasing = [lambda one=one: erase(one) for one in documents[1:]]
    in_turns = [call for pair in zip(embedding, erasing, strict=False) for call in pair]
    answers = work.together(4, *in_turns, *embedding[len(erasing) :])
    finish(attempts, job_id)

    assert answers == [None] * (len(embedding) + len(erasing))
    assert work.job(database, job_id).status is JobStatus.COMPLETED
    assert embedded(database) == [f"0 {ordinal}" for ordinal in range(4)]


def test_a_search_worker_does_not_start_on_vectors_of_another_length_than_its_models(
    attempts: Attempts, database: Database, account: Account
) -> None:
    runtime.warm(attempts.context)
    document(database, account, "1", model=NEW)

    with pytest.raises(Misconfigured, match="fake have 3 dimensions, and those of a query 384"):
        runtime.warm(attempts.context)


def test_what_came_meanwhile_is_counted_and_found_by_the_next_one(
    attempts: Attempts, database: Database, account: Account, operator: Account, engine: Noting
) -> None:
    document(database, account, "1")
    first = begin(database, operator)
    attempts.work(work.queued(database, first)[0])
    document(database, account, "2", "3")
    reindexed.prepared(database, account, "4")
    finish(attempts, first)
    second = begin(database, operator)
    finish(attempts, second)

    (told,) = work.job(database, first).warnings
    (told_again,) = work.job(database, second).warnings
    assert (told.code, told.message[:2], told_again.code, told_again.message[:2]) == (
        *("passages_left", "3 "),
        *("passages_left", "1 "),
    )
    assert engine.texts == embedded(database) == ["1", "2", "3"]


def test_where_nothing_is_to_be_done_it_is_done_at_once(
    attempts: Attempts, database: Database, account: Account, operator: Account, engine: Noting
) -> None:
    job_id = begin(database, operator)
    finish(attempts, job_id)

    job = work.job(database, job_id)
    assert (job.status, job.chunks_total, engine.texts) == (JobStatus.COMPLETED, 0, [])


def test_passages_that_the_model_does_not_read_to_their_ends_are_counted(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    exactly, longer = "word " * 254, "word " * 255
    document(database, account, exactly, longer, "short", longer)

    job_id = begin(database, operator)
    finish(attempts, job_id)

    (warning,) = work.job(database, job_id).warnings
    assert (warning.code, warning.message[:10]) == ("passages_cut", "2 passages")


def test_one_at_a_time_with_a_model_also_when_one_is_tried_again(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    document(database, account, "1")
    failed = begin(database, operator)
    with pytest.raises(Conflict, match="in work already"):
        begin(database, operator)
    work.execute(database, "UPDATE jobs SET status = 'processing', started_at = now() WHERE id = :id", id=failed)
    facts = "status = 'failed', finished_at = now(), error_code = 'internal', error_stage = 'prepare'"
    work.execute(
        database,
        f"UPDATE jobs SET {facts}, error_message = '', error_retryable = true WHERE id = :id",
        id=failed,
    )
    second = begin(database, operator)

    def retry() -> None:
        with database.transaction() as connection:
            interventions.retry(connection, failed, operator.id, work.TIERS)

    with pytest.raises(Conflict, match="in work already"):
        retry()
    finish(attempts, second)
    retry()
    assert work.job(database, failed).status is JobStatus.QUEUED


def test_two_models_at_once_are_in_nobodys_way(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    texts = [str(n) for n in range(12)]
    document(database, account, *texts)
    both = [begin(database, operator), begin(database, operator, "all-MiniLM-L6-v2")]
    for job_id in both:
        attempts.work(work.queued(database, job_id)[0])
    waiting = [
        chunk_id for pair in zip(*[work.queued(database, one) for one in both], strict=True) for chunk_id in pair
    ]

    answers = work.together(4, *[lambda one=one: attempts.work(one) for one in waiting])
    for job_id in both:
        finish(attempts, job_id)

    assert answers == [None] * 12
    assert [work.job(database, one).status for one in both] == [JobStatus.COMPLETED] * 2
    assert embedded(database) == embedded(database, "all-MiniLM-L6-v2") == texts


def test_a_document_that_embeds_beside_a_reindex_with_its_model_is_left_to_itself(
    attempts: Attempts, database: Database, account: Account, operator: Account, engine: Noting
) -> None:
    own = reindexed.prepared(database, account, "1", "2")

    finish(attempts, begin(database, operator))
    by_the_reindex = list(engine.texts)
    finish(attempts, own)

    assert (by_the_reindex, embedded(database)) == ([], ["1", "2"])


def test_a_model_that_cannot_be_had_is_told_before_anything_is_planned(
    attempts: Attempts, database: Database, account: Account, operator: Account
) -> None:
    document(database, account, "1")

    job_id = begin(database, operator, "bge-small-en-v1.5")
    finish(attempts, job_id)

    job = work.job(database, job_id)
    assert job.error is not None
    assert (job.error.code, job.error.stage, job.chunks_total) == ("model_unavailable", Stage.PREPARE, None)


def test_a_failed_reindex_that_is_tried_again_does_what_is_left_and_a_deleted_one_leaves_its_vectors(
    attempts: Attempts, database: Database, account: Account, operator: Account, engine: Noting
) -> None:
    document(database, account, "1", "2", "3", "4")
    job_id = begin(database, operator)
    for _ in range(2):
        attempts.work(work.queued(database, job_id)[0])
    with database.transaction() as connection:
        completion.fail(connection, work.claim_one(database, job_id), Internal(), max_failures=1)
    with database.transaction() as connection:
        interventions.retry(connection, job_id, operator.id, work.TIERS)
    finish(attempts, job_id)
    with database.transaction() as connection:
        interventions.delete(connection, job_id, operator.id)

    assert engine.texts == embedded(database) == ["1", "2", "3", "4"]
