"""A media store that is away, full or read-only: nothing more is accepted, and what was accepted waits for it."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest

from core.job import Stage
from tests.faults.books import faults_in_the_books, orphans
from tests.faults.conftest import Undisturbed
from tests.faults.deployment import Deployment, submit
from tests.faults.media import await_three_tries, away, small_store
from tests.faults.moments import Moment, caught
from tests.faults.striking import ended

MIB = 1024**2


def refused(whole: Deployment, n_bytes: int) -> tuple[int, str]:
    """How a submit is answered: status and code."""
    headers = {"Authorization": f"Bearer {whole.key}"}
    files = {"file": ("talk.wav", bytes(n_bytes))}
    answer = httpx.post(f"{whole.url}/v1/transcriptions", headers=headers, files=files, timeout=30, trust_env=False)
    return answer.status_code, answer.json().get("code", "")


def jobs_and_orphans(whole: Deployment) -> tuple[int, list[str]]:
    with whole.database() as database, database.transaction() as connection:
        n_jobs = connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one()
        return int(n_jobs), orphans(whole.blob_folder, connection)


def test_a_submit_while_the_media_store_is_away_is_refused_and_leaves_nothing(undisturbed: Undisturbed) -> None:
    whole = undisturbed.whole
    before = jobs_and_orphans(whole)
    with away(whole):
        assert refused(whole, MIB) == (503, "unavailable")
    assert jobs_and_orphans(whole) == before


@pytest.mark.long
@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_a_recording_waits_for_a_media_store_that_takes_its_chunks(undisturbed: Undisturbed, full: bool) -> None:
    """There is room for the first chunk of its audio, and not for the second; or for none."""
    whole = undisturbed.whole
    with small_store(whole, 16 * MIB) as store, whole.client() as client:
        with caught(whole, Moment.BEFORE_CLAIM, Stage.PREPARE, "io", lambda: submit(client)) as held:
            store.fill(held.job_id, room=3 * MIB) if full else store.set_writable(False)
        before = jobs_and_orphans(whole)
        assert refused(whole, 4 * MIB) == (503, "unavailable")
        await_three_tries(whole, held.job_id)
        assert jobs_and_orphans(whole) == before == (before[0], [])
        store.make_room(held.job_id) if full else store.set_writable(True)
        job_ids = [held.job_id, submit(client)]
        jobs = ended(client, job_ids)
        assert [job.status for job in jobs] == ["completed"] * 2, [job.error for job in jobs]
        check_books(undisturbed, job_ids)


def check_books(undisturbed: Undisturbed, job_ids: list[UUID]) -> None:
    whole = undisturbed.whole
    with whole.database() as database, database.transaction() as connection:
        assert faults_in_the_books(connection, job_ids, undisturbed.job_id) == []
        assert orphans(whole.blob_folder, connection) == []
