"""What a chunk is transcribed with: what its owner asked for, and what the job was heard as so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from core.dispatch import Dispatcher
from core.options import TranscriptionOptions
from core.store import jobs
from core.store.accounts import Account
from core.store.blobs import chunk_key
from core.store.chunks import Claim
from core.store.results import Transcribed
from core.store.session import Database
from core.transcript import HeardLanguage
from models.engine import Clip, TranscribeOptions, Transcription
from models.fake import FakeTranscriber
from models.pool import Pool
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import context
from workers.lease import Lease
from workers.stages.context import Context
from workers.stages.transcribe import transcribe


class Noting(FakeTranscriber):
    """Notes what it is asked for, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[TranscribeOptions] = []

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> Transcription:
        self.asked.append(options)
        return super().transcribe(audio, clips, options)


@pytest.fixture
def engine() -> Noting:
    return Noting()


@pytest.fixture
def worker(engine: Noting, dispatcher: Dispatcher, tmp_path: Path) -> Context:
    real = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml"))
    return replace(real, pool=Pool(lambda name, kind: engine, math.inf))


def claims(worker: Context, account: Account, asked: TranscriptionOptions, n_chunks: int) -> list[Claim]:
    """All chunks of a job, claimed, with a minute of silence for each."""
    new = replace(work.new_job(account), options=asked)
    with worker.database.transaction() as connection:
        jobs.insert(connection, new)
    return [_claim(worker, chunk_id) for chunk_id in work.prepare(worker.database, new.id, n_chunks)]


def _claim(worker: Context, chunk_id: UUID) -> Claim:
    claimed = work.claim(worker.database, chunk_id)
    assert claimed is not None
    worker.blobs.put(chunk_key(claimed.job_id, claimed.ordinal, 0), bytes(5 * 16_000 * 2))
    return claimed


def test_a_chunk_is_told_what_the_chunks_before_it_were_heard_as(
    worker: Context, engine: Noting, account: Account, database: Database
) -> None:
    first, second = claims(worker, account, TranscriptionOptions(model=work.MODEL), 2)
    transcribe(worker, first, Lease(first))
    work.complete(database, first, Transcribed([work.segment()], HeardLanguage("de", 0.98, 5.0)))
    transcribe(worker, second, Lease(second))

    assert [(asked.language, asked.likely_language) for asked in engine.asked] == [(None, None), (None, "de")]


def test_every_chunk_gets_the_language_the_prompt_and_the_hot_words_that_were_named(
    worker: Context, engine: Noting, account: Account
) -> None:
    named = TranscriptionOptions(model=work.MODEL, language="de", prompt="Über Ebbe und Flut.", hotwords="Priel")
    for claimed in claims(worker, account, named, 3):
        transcribe(worker, claimed, Lease(claimed))

    told = [(asked.language, asked.prompt, asked.hotwords) for asked in engine.asked]
    assert told == [("de", "Über Ebbe und Flut.", "Priel")] * 3
