"""Chores for tests: done at once, by name, as Beat would do them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.store.blobs import Blobs
from core.store.session import Database
from tests.integration import work
from workers.chores import Ages, Household, Periods, backups, chores, indexes
from workers.upkeep import Chore, Slice, Swept

AGES = Ages(worker_silence_s=15, idle_s=0, orphan_s=3600, ledger_keep_months=24)


def all_chores(
    database: Database, blobs: Blobs, ages: Ages = AGES, back_up: Callable[[], Path | None] | None = None
) -> tuple[Chore, ...]:
    every = Periods(60, 600, 3600)
    extra = () if back_up is None else backups(back_up, every)
    own = chores(Household(database, blobs, work.TIERS), every, ages)
    return (*own, *indexes(database, every), *extra)


def chore(database: Database, blobs: Blobs, name: str, ages: Ages = AGES) -> Chore:
    (found,) = [one for one in all_chores(database, blobs, ages) if one.name == name]
    return found


def do(database: Database, blobs: Blobs, name: str, ages: Ages = AGES, run: Slice | None = None) -> Swept:
    """Do one chore, past all that decides whether it is due."""
    return chore(database, blobs, name, ages).work(run or Slice())
