"""Chunks that wait to be transcribed, for a benchmark of what works them: made as the API and an io worker make them.

Jobs of several accounts by turns, each already prepared: its chunks are in the database and their audio, a second of
silence, in the blob store. The model is `fake` and nothing is embedded.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from benchmarks.bare_servers import BareServers
from core import tiers
from core.job import JobKind
from core.lanes import Lane, Tier
from core.options import TranscriptionOptions
from core.plan import AudioChunk, Clip, Region
from core.store import accounts as account_store
from core.store import blobs, chunks, completion, jobs
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.chunks import Took
from core.store.jobs import JobInput, NewJob
from core.store.results import Prepared
from core.store.tables import chunks as chunk_table

N_ACCOUNTS, PER_JOB = 8, 16
AUDIO_S = 1.0
"""Of each chunk."""

_SOUND = bytes(2 * int(16_000 * AUDIO_S))
_OPTIONS = TranscriptionOptions(model="fake", index=False)
_TIERS = tiers.load()


def add_accounts(servers: BareServers) -> list[Account]:
    """Whose jobs they will be."""
    with servers.database.transaction() as connection:
        return [account_store.create(connection, f"account {n}", Tier.ENTERPRISE) for n in range(N_ACCOUNTS)]


def add_chunks(servers: BareServers, accounts: Sequence[Account], n_chunks: int) -> None:
    """So many chunks; nobody is told of them yet."""
    for n, first in enumerate(range(0, n_chunks, PER_JOB)):
        _prepared_job(servers, accounts[n % len(accounts)], min(PER_JOB, n_chunks - first))


def _prepared_job(servers: BareServers, account: Account, n_chunks: int) -> None:
    new = NewJob(
        id=uuid7(),
        account_id=account.id,
        kind=JobKind.TRANSCRIPTION,
        lane=Lane.EXPRESS,
        tier=account.tier,
        input=JobInput("upload", "talk.wav", bytes=len(_SOUND)),
        options=_OPTIONS,
        metadata={},
        retention_days=30,
        concurrent_jobs=10_000,
    )
    store = Blobs(servers.environment["SCRIBELANE_BLOB_URL"])
    for n in range(n_chunks):
        store.put(blobs.chunk_key(new.id, n), _SOUND)
    with servers.database.transaction() as connection:
        jobs.insert(connection, new)
        first = connection.scalars(sa.select(chunk_table.c.id).where(chunk_table.c.job_id == new.id)).one()
        claim = chunks.claim(connection, first, worker_id="io/0", lease_s=60)
        assert claim is not None
        work = [_second(n * AUDIO_S) for n in range(n_chunks)]
        prepared = Prepared(work, duration_s=n_chunks * AUDIO_S)
        completion.complete(connection, claim, prepared, took=Took(0), tiers=_TIERS)


def _second(start_s: float) -> AudioChunk:
    return AudioChunk((Clip((Region(start_s, start_s + AUDIO_S),)),))
