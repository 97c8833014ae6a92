"""Whatever is done to jobs, and in whatever order: the countdown, the limits, the ledger and the results stay right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection
from uuid_utils.compat import uuid7

from core.errors import (
    Conflict,
    Internal,
    JobError,
    LeaseLost,
    MediaUnreadable,
    NotFound,
    OverQuota,
    QuotaExceeded,
)
from core.job import JobKind, Stage
from core.store import batches, chunks, completion, interventions, jobs, planning, turns
from core.store.accounts import Account
from core.store.batches import NewBatch
from core.store.blobs import Blobs
from core.store.chunks import Claim, Orphan
from core.store.results import Prepared
from core.store.session import Database
from tests.integration import household, quota, work

LIMIT = 2
QUOTA = 6
"""Minutes, or pages: two jobs of the longest sort, and no more."""
PLANS = quota.limited(audio_s=60 * QUOTA, pages=QUOTA)


@dataclass
class World:
    """One account's jobs, the claims that workers believe to hold, and what may be done to them."""

    database: Database
    account: Account
    blobs: Blobs
    batch_ids: list[UUID] = field(default_factory=list)
    job_ids: list[UUID] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def submit(self, pick: int) -> None:
        kind = work.UPLOADED[pick % 2]
        self.job_ids.append(work.submit(self.database, self.account, kind, concurrent_jobs=LIMIT))

    def submit_batch(self, pick: int) -> None:
        batch_id, n_jobs = uuid7(), 2 + pick % 3
        news = [
            work.new_job(self.account, work.UPLOADED[n % 2], concurrent_jobs=LIMIT, batch=(batch_id, n))
            for n in range(n_jobs)
        ]
        with self.database.transaction() as connection:
            batches.insert(connection, NewBatch(batch_id, self.account.id, news[0].lane, n_jobs, [], 30))
            jobs.insert(connection, *news)
        self.batch_ids.append(batch_id)
        self.job_ids += [new.id for new in news]

    def dispatch_and_claim(self, pick: int) -> None:
        with self.database.transaction() as connection:
            turns.dispatch(connection, work.PROMISES)
        rows = work.execute(self.database, "SELECT id FROM chunks WHERE status = 'queued' AND dispatched_until > now()")
        if rows:
            with self.database.transaction() as connection:
                claimed = chunks.claim(connection, rows[pick % len(rows)].id, worker_id="w/0", lease_s=60)
            assert claimed is not None
            self.claims.append(claimed)

    def complete(self, pick: int) -> None:
        # The claim is kept: a worker may deliver a result twice, or after it has lost its lease.
        def deliver(claim: Claim) -> None:
            try:
                with self.database.transaction() as connection:
                    n_emitted, _ = planning.emitted(connection, claim.job_id)
                result = work.result_of(claim, max(1 + pick % 3, n_emitted))
                if isinstance(result, Prepared) and claim.kind is JobKind.TRANSCRIPTION:
                    result = replace(result, work=result.work[n_emitted:])
                work.complete(self.database, claim, result, plans=PLANS)
            except OverQuota as error:
                self._fail(claim, error)

        self._with_claim(pick, deliver)

    def emit(self, pick: int) -> None:
        """Whoever prepares a recording queues the next chunk of it, up to the third."""

        def deliver(claim: Claim) -> None:
            with self.database.transaction() as connection:
                ordinal, _ = planning.emitted(connection, claim.job_id)
            if (claim.stage, claim.kind) == (Stage.PREPARE, JobKind.TRANSCRIPTION) and ordinal < 3:
                try:
                    work.emit(self.database, claim, ordinal, plans=PLANS)
                except OverQuota as error:
                    self._fail(claim, error)

        self._with_claim(pick, deliver)

    def fail_for_now(self, pick: int) -> None:
        self._with_claim(pick, lambda claim: self._fail(claim, Internal()))
        work.execute(self.database, "UPDATE chunks SET retry_at = now() WHERE retry_at IS NOT NULL")

    def fail_for_good(self, pick: int) -> None:
        self._with_claim(pick, lambda claim: self._fail(claim, MediaUnreadable()))

    def rescue(self, pick: int) -> None:
        def lose(claim: Claim) -> None:
            with self.database.transaction() as connection:
                orphan = Orphan(claim.chunk_id, claim.job_id, claim.attempt, known_dead=True)
                completion.rescue(connection, orphan, max_failures=3)

        self._with_claim(pick, lose)

    def cancel(self, pick: int) -> None:
        self._with_job(pick, interventions.cancel)

    def cancel_batch(self, pick: int) -> None:
        if self.batch_ids:
            try:
                with self.database.transaction() as connection:
                    batches.cancel(connection, self.batch_ids[pick % len(self.batch_ids)], self.account.id)
            except (Conflict, NotFound):  # it has ended, or gone with its last job
                return

    def expire(self, pick: int) -> None:
        if self.job_ids:
            gone = self.job_ids[pick % len(self.job_ids)]
            work.execute(self.database, "UPDATE jobs SET expires_at = now() WHERE id = :id", id=gone)
            household.do(self.database, self.blobs, "expired_jobs")

    def retry(self, pick: int) -> None:
        self._with_job(pick, partial(interventions.retry, tiers=PLANS))

    def delete(self, pick: int) -> None:
        def erase(connection: Connection, job_id: UUID, account_id: UUID) -> None:
            interventions.end(connection, job_id, account_id)
            interventions.delete(connection, job_id, account_id)

        self._with_job(pick, erase)

    def _fail(self, claim: Claim, error: JobError) -> None:
        with self.database.transaction() as connection:
            completion.fail(connection, claim, error, max_failures=3)

    def _with_claim(self, pick: int, act: Callable[[Claim], None]) -> None:
        if self.claims:
            try:
                act(self.claims[-1 - pick % min(6, len(self.claims))])  # among the latest: many older ones are spent
            except LeaseLost:
                return

    def _with_job(self, pick: int, act: Callable[[Connection, UUID, UUID], object]) -> None:
        if self.job_ids:
            try:
                with self.database.transaction() as connection:
                    act(connection, self.job_ids[pick % len(self.job_ids)], self.account.id)
            except (Conflict, NotFound, QuotaExceeded):
                return

    def work_all_that_is_left(self) -> None:
        """Workers deliver what they hold, and then whatever waits."""
        for _ in range(len(self.claims)):
            self.complete(0)
            self.claims.pop()
        while rows := work.execute(self.database, "SELECT job_id FROM chunks WHERE status = 'queued'"):
            self.claims.append(work.claim_one(self.database, rows[0].job_id))
            self.complete(0)

    def check(self) -> None:
        """What must hold after every step."""
        broken = work.execute(self.database, ALL_BROKEN, limit=LIMIT, account=self.account.id, quota=QUOTA)
        assert [row.rule for row in broken] == []
        assert quota.totals_that_differ_from_the_ledger(self.database) == []


OPEN = "SELECT count(*) FROM chunks c WHERE c.job_id = j.id AND c.status IN ('queued', 'running')"
BROKEN = {
    "the countdown is the number of open chunks": f"""
        SELECT id FROM jobs j WHERE status = 'processing' AND chunks_left <> ({OPEN})
        UNION ALL
        SELECT id FROM jobs j WHERE status = 'queued' AND admitted_at IS NOT NULL AND chunks_left <> ({OPEN})""",
    "a job that has ended or waits for room has no open chunk": f"""
        SELECT id FROM jobs j
        WHERE (status IN ('completed', 'failed', 'cancelled') OR admitted_at IS NULL) AND ({OPEN}) > 0""",
    "a completed job has done everything": """
        SELECT j.id FROM jobs j JOIN chunks c ON c.job_id = j.id WHERE j.status = 'completed' AND c.status <> 'done'
        UNION ALL SELECT id FROM jobs WHERE status = 'completed' AND chunks_done <> chunks_total""",
    "done chunks are counted once": """
        SELECT j.id FROM jobs j
        WHERE chunks_done <> (SELECT count(*) FROM chunks c WHERE c.job_id = j.id AND c.status = 'done'
                              AND c.stage IN ('transcribe', 'embed'))""",
    "each transcribed chunk has its segment once": """
        SELECT c.id FROM chunks c
        WHERE c.stage = 'transcribe' AND (c.status = 'done')
              <> (1 = (SELECT count(*) FROM segments s WHERE s.job_id = c.job_id AND s.chunk_ordinal = c.ordinal))""",
    "no more jobs are worked than the limit": """
        SELECT lane FROM jobs WHERE admitted_at IS NOT NULL AND status IN ('queued', 'processing')
        GROUP BY lane HAVING count(*) > :limit""",
    "no job waits while there is room": """
        SELECT id FROM jobs WHERE status = 'queued' AND admitted_at IS NULL
          AND :limit > (SELECT count(*) FROM jobs
                        WHERE admitted_at IS NOT NULL AND status IN ('queued', 'processing'))""",
    "what is reserved is what the open jobs take, as far as they are prepared": """
        SELECT * FROM (
            SELECT coalesce(sum(reserved) FILTER (WHERE unit = 'audio_s'), 0) AS audio_s,
                   coalesce(sum(reserved) FILTER (WHERE unit = 'pages'), 0) AS pages
            FROM usage_totals WHERE account_id = :account
        ) held, (
            SELECT coalesce(sum(coalesce(duration_s, (
                       SELECT 60.0 * max(ordinal) + 5 FROM chunks
                       WHERE job_id = j.id AND stage = 'transcribe'
                   ))), 0) AS audio_s,
                   coalesce(sum(pages), 0) AS pages
            FROM jobs j WHERE status IN ('queued', 'processing')
        ) open
        WHERE (held.audio_s, held.pages) <> (open.audio_s, open.pages)""",
    "a job is settled if it is completed, and only then": """
        SELECT id FROM jobs j WHERE (status = 'completed')
          <> EXISTS (SELECT FROM usage_events e WHERE e.job_id = j.id AND e.kind = 'settle')""",
    "nobody gets more than the quota": """
        SELECT unit FROM usage_totals
        WHERE used + reserved > CASE unit WHEN 'audio_s' THEN 60 * :quota ELSE :quota END""",
}
ALL_BROKEN = " UNION ".join(f"SELECT '{rule}' AS rule FROM ({query}) AS of_it" for rule, query in BROKEN.items())
"""The rules that are broken, in one question: it is asked after every step."""
HELD = "SELECT unit FROM usage_totals WHERE account_id = :account AND reserved > 0"
STEPS = (
    *[World.submit] * 2,
    World.submit_batch,
    *[World.dispatch_and_claim] * 4,
    *[World.emit] * 2,
    *[World.complete] * 4,
    World.fail_for_now,
    World.fail_for_good,
    World.rescue,
    World.cancel,
    World.cancel_batch,
    World.retry,
    World.delete,
    World.expire,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), min_size=20, max_size=60))
def test_no_order_of_events_breaks_a_rule(
    database: Database, tmp_path: Path, steps: list[tuple[Callable[[World, int], None], int]]
) -> None:
    work.execute(database, "TRUNCATE batches, jobs, account_turns, job_turns CASCADE")
    # An account of its own: the ledger is not truncated, and what a job held that was thus lost stays held.
    world = World(database, work.open_account(database, str(uuid4())), Blobs(tmp_path.as_uri()))
    for step, pick in steps:
        step(world, pick)
        world.check()
    world.work_all_that_is_left()
    world.check()
    open_jobs = "SELECT id FROM jobs WHERE status IN ('queued', 'processing')"
    assert work.execute(database, open_jobs) == work.execute(database, HELD, account=world.account.id) == []
