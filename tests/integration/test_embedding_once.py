"""What an account has a vector for is not computed again: not within a chunk, not in another document."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from core.dispatch import Dispatcher
from core.errors import LeaseLost
from core.job import JobKind, Stage
from core.store import passages
from core.store.accounts import Account
from core.store.results import Prepared
from core.store.session import Database
from core.work import PassageBatch
from models.fake import FakeEmbedder
from models.pool import Pool
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import context
from workers.lease import Lease
from workers.stages.context import Context
from workers.stages.embed import embed

PAGES = ("The tide is high.", "It falls again.", "The tide is high.", "It rises.")


class Noting(FakeEmbedder):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        self.asked.extend(texts)
        return super().embed(texts, query=query, on_batch=on_batch)


@pytest.fixture
def engine() -> Noting:
    return Noting()


@pytest.fixture
def worker(engine: Noting, dispatcher: Dispatcher, tmp_path: Path) -> Context:
    real = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    return replace(real, pool=Pool(lambda name, kind: engine, math.inf))


def embedded(worker: Context, account: Account, pages: Sequence[str]) -> UUID:
    """A document of these pages, one passage each in one chunk, with its vectors stored."""
    job_id = work.submit(worker.database, account, JobKind.DOCUMENT)
    texts = [[work.passage(text, number) for number, text in enumerate(pages, 1)]]
    prepared = Prepared([PassageBatch(len(pages))], pages=len(pages), texts=texts)
    work.complete(worker.database, work.claim_one(worker.database, job_id), prepared)
    claimed = work.claim_one(worker.database, job_id)
    work.complete(worker.database, claimed, embed(worker, claimed, Lease(claimed)))
    return job_id


def vectors(database: Database, job_id: UUID) -> list[tuple[str, Sequence[float] | None]]:
    with database.transaction() as connection:
        found, _ = passages.passages_of(connection, job_id, model="fake", limit=100)
    return [(stored.passage.text, stored.vector) for stored in found]


def told(database: Database, job_id: UUID) -> object:
    (chunk,) = work.chunk_rows(database, job_id, Stage.EMBED)
    return chunk.output


def test_a_text_that_occurs_twice_is_computed_once_and_both_passages_have_its_vector(
    worker: Context, engine: Noting, account: Account, database: Database
) -> None:
    job_id = embedded(worker, account, PAGES)

    assert engine.asked == [PAGES[0], PAGES[1], PAGES[3]]
    expected = FakeEmbedder().embed(PAGES)
    for (text, vector), page, wanted in zip(vectors(database, job_id), PAGES, expected, strict=True):
        assert text == page
        np.testing.assert_allclose(vector or (), wanted, atol=1e-6)
    assert told(database, job_id) == {"passages": 4, "computed": 3}


def test_a_second_document_with_the_same_pages_asks_the_engine_for_none_and_loads_no_model(
    worker: Context, engine: Noting, account: Account, database: Database
) -> None:
    first = embedded(worker, account, PAGES)
    engine.asked.clear()
    worker = replace(worker, pool=Pool(lambda name, kind: pytest.fail("a model was loaded"), math.inf))

    second = embedded(worker, account, PAGES)

    assert engine.asked == []
    assert vectors(database, second) == vectors(database, first)
    assert told(database, second) == {"passages": 4, "computed": 0}


def test_only_what_is_new_in_a_second_edition_is_computed(worker: Context, engine: Noting, account: Account) -> None:
    embedded(worker, account, PAGES)
    engine.asked.clear()

    embedded(worker, account, [*PAGES, "It rises. "])

    assert engine.asked == ["It rises. "]


def test_what_another_account_or_another_model_has_is_computed_anew(
    worker: Context, engine: Noting, account: Account, database: Database
) -> None:
    embedded(worker, account, PAGES)
    engine.asked.clear()

    embedded(worker, work.open_account(database, "grace"), PAGES)
    assert len(engine.asked) == 3

    work.execute(database, "UPDATE vectors SET model = 'another'")
    embedded(worker, account, PAGES)
    assert len(engine.asked) == 6


def test_what_was_deleted_with_its_job_is_not_known_any_more(
    worker: Context, engine: Noting, account: Account, database: Database
) -> None:
    first = embedded(worker, account, PAGES)
    work.execute(database, "DELETE FROM jobs WHERE id = :job", job=first)
    engine.asked.clear()

    embedded(worker, account, PAGES)

    assert len(engine.asked) == 3


def test_a_chunk_that_is_taken_away_ends_with_the_batch_in_work(
    worker: Context, engine: Noting, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []

    def progress(lease: Lease, *_: object) -> None:
        if engine.asked:
            batches.append(1)
            raise LeaseLost

    monkeypatch.setattr(Lease, "progress", progress)
    with pytest.raises(LeaseLost):
        embedded(worker, account, PAGES)
    assert len(batches) == 1
