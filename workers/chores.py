"""What there is to keep up: every chore, how often it is due, and who does it. `docs/operations.md` has the same table.

`workers.upkeep` runs them; a new one is a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection

from core.store import batches, idempotency, speeds, vector_indexes, workers
from core.store.blobs import Blobs
from core.store.session import Database
from core.tiers import Tiers
from workers import accounting, clean, orphans
from workers.upkeep import Chore, Slice, Swept

_PAUSE_S = 3600.0
"""After a backup or an index that failed: until then whoever looks may have made room."""


@dataclass(frozen=True, slots=True)
class Household:
    """What chores work on."""

    database: Database
    blobs: Blobs
    tiers: Tiers


@dataclass(frozen=True, slots=True)
class Periods:
    """How often what expires, what is counted, and what is looked for far and wide is due."""

    clean_s: float
    usage_s: float
    sweep_s: float


@dataclass(frozen=True, slots=True)
class Ages:
    """How old is old. `idle_s`: nobody writes the chunks of a job any more that ended so long ago."""

    worker_silence_s: float
    idle_s: float
    orphan_s: float
    ledger_keep_months: int


def chores(its: Household, every: Periods, after: Ages) -> tuple[Chore, ...]:
    """Every chore but `indexes` and `backups`, in the order in which a round does those that are due."""
    database, blobs = its.database, its.blobs

    def at_once(forget: Callable[[Connection], int]) -> Callable[[Slice], Swept]:
        """One statement."""

        def work(_: Slice) -> Swept:
            with database.transaction() as connection:
                return Swept(forget(connection))

        return work

    return (
        Chore("silent_workers", every.clean_s, at_once(lambda c: workers.forget_silent(c, after.worker_silence_s))),
        Chore("idempotency_keys", every.clean_s, at_once(idempotency.delete_expired)),
        Chore("refused_batches", every.clean_s, at_once(batches.delete_expired)),
        Chore("expired_jobs", every.clean_s, lambda run: clean.expired_jobs(database, blobs, run)),
        Chore("chunk_audio", every.clean_s, lambda run: clean.chunk_audio(database, blobs, run, idle_s=after.idle_s)),
        Chore("reconcile", every.usage_s, lambda _: Swept(accounting.reconcile(database))),
        Chore("close_periods", every.usage_s, lambda _: Swept(accounting.close_periods(database, its.tiers))),
        Chore("daily_report", every.usage_s, lambda _: Swept(accounting.report_days(database))),
        Chore("old_speeds", every.sweep_s, at_once(speeds.forget_old)),
        Chore(
            "old_events",
            every.sweep_s,
            lambda run: accounting.forget_old_events(database, run, keep_months=after.ledger_keep_months),
        ),
        Chore(
            "orphan_blobs",
            every.sweep_s,
            lambda run: orphans.erase_orphans(database, blobs, run, older_than_s=after.orphan_s),
        ),
    )


def indexes(database: Database, every: Periods) -> tuple[Chore, ...]:
    """The vector indexes, which may take an hour to build: they have a round of their own."""
    chore = Chore("vector_indexes", every.sweep_s, lambda _: Swept(vector_indexes.renew(database)), pause_s=_PAUSE_S)
    return (chore,)


def backups(back_up: Callable[[], Path | None], every: Periods) -> tuple[Chore, ...]:
    """The backup of this day: `back_up` makes it, if it is not made yet, and says where.

    It may take an hour, so it is to have a round of its own, and one that failed is not begun again at once.
    """
    return (Chore("backup", every.usage_s, lambda _: Swept(int(back_up() is not None)), pause_s=_PAUSE_S),)
