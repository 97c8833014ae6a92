"""The passages of a transcript know the chapters of their recording, and their place in the whole of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.details import Chapter, MediaDetails
from core.dispatch import Dispatcher
from core.store.accounts import Account
from core.store.results import Embedded
from core.work import TranscriptSpan
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import context
from workers.lease import Lease
from workers.stages.context import Context
from workers.stages.embed import embed

TRANSCRIPT = "Words of part 0. Words of part 1. Words of part 2."


def embedded(worker: Context, account: Account, *spans: TranscriptSpan) -> list[Embedded]:
    """A recording of three segments, a minute apart, whose second chapter begins with the last of them."""
    job_id = work.submit(worker.database, account)
    chapters = (Chapter("Ebb", 0.0, 110.0), Chapter("Flood", 110.0, 180.0))
    details = MediaDetails(chapters=chapters)
    work.complete(worker.database, work.claim_one(worker.database, job_id), replace(work.prepared(3), details=details))
    for _ in range(3):
        work.complete(worker.database, work.claim_one(worker.database, job_id))
    claimed = work.claim_one(worker.database, job_id)
    results = [embed(worker, replace(claimed, work=span), Lease(claimed)) for span in spans]
    return [result for result in results if isinstance(result, Embedded)]


def test_passages_know_the_chapter_they_are_of(dispatcher: Dispatcher, account: Account, tmp_path: Path) -> None:
    worker = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    (whole,) = embedded(worker, account, TranscriptSpan(0, 2))
    assert [(passage.start_s, passage.section) for passage in whole.passages] == [
        (0.0, "Ebb"),
        (60.0, "Ebb"),
        (120.0, "Flood"),
    ]


def test_the_later_stretches_of_a_transcript_count_characters_from_its_beginning(
    dispatcher: Dispatcher, account: Account, tmp_path: Path
) -> None:
    worker = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    stretches = embedded(worker, account, TranscriptSpan(0, 0), TranscriptSpan(1, 2))
    passages = [passage for stretch in stretches for passage in stretch.passages]
    assert [passage.text for passage in passages] == [TRANSCRIPT[p.char_start : p.char_end] for p in passages]
    assert [passage.char_start for passage in passages] == [0, 17, 34]
