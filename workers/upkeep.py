"""Beat's upkeep: each chore that is due is run by one process alone, measured, and its outcome recorded.

    Beat's tick → Bell → Upkeep.round → for each chore: alone? due? → work → record

Beat rings often, and the database says what is due: a chore whose night came while nothing ran is done by the first
tick after it, and two Beats do no more than one. A round has a thread of its own, so that a media store that answers
slowly keeps nobody from dispatching and rescuing; indexes and the backup, which may take an hour, have their own. A
process that is killed in a chore lets go of it with its connection to the database; the next tick begins it again, and
each chore may be done twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from core.store import upkeep
from core.store.session import Database
from core.store.upkeep import Due, Ended

log = structlog.get_logger(__name__)

BUDGET_S = 10.0
"""A run ends after about this, and goes on when the others have had their turn."""
_ERROR_CHARS = 300


class Slice:
    """What one run may do: it begins where the one before stopped, and ends when its time is up."""

    def __init__(self, resume: str | None = None, budget_s: float = BUDGET_S) -> None:
        self.resume = resume
        self._until = time.monotonic() + budget_s

    @property
    def over(self) -> bool:
        """Whether to stop here."""
        return time.monotonic() >= self._until


@dataclass(frozen=True, slots=True)
class Swept:
    """What a run came to: how many items, what kept it from one that it passed over, where the next run goes on."""

    items: int
    passed_over: Exception | None = None
    resume: str | None = None


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done once a period. What it raises is recorded, and it is tried again after the period.

    `pause_s`: how long after a failure instead, counted from its end, for what costs much before it fails.
    """

    name: str
    period_s: float
    work: Callable[[Slice], Swept]
    pause_s: float | None = None


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Some chores; a `Bell` runs rounds of them."""

    database: Database
    chores: Sequence[Chore]

    def round(self) -> int:
        """Run what is due, one after the other, and all of it again as long as any chore stops half-way.

        Returns how many runs that were. Raises only if the database is away.
        """
        n_runs, half_way = 0, True
        while half_way:
            ended = [run(self.database, chore) for chore in self.chores]
            n_runs += sum(one is not None for one in ended)
            half_way = any(one is not None and one.resume is not None and one.error is None for one in ended)
        return n_runs


def run(database: Database, chore: Chore) -> Ended | None:
    """Run a chore if it is due and nobody else is at it; None if it was not run."""
    with database.alone(f"upkeep {chore.name}") as alone:
        if not alone:
            return None
        with database.transaction() as connection:
            due = upkeep.due(connection, chore.name, chore.period_s, chore.pause_s)
        if due is None:
            return None
        ended = _work(chore, due)
        with database.transaction() as connection:
            upkeep.write(connection, chore.name, due, ended)
    return ended


def _work(chore: Chore, due: Due) -> Ended:
    try:
        swept = chore.work(Slice(due.resume))
    except Exception as error:
        log.exception("upkeep failed; it is tried again after its period", chore=chore.name)
        return Ended(0, _in_words(error), due.resume)
    if swept.items:
        log.info("upkeep", chore=chore.name, items=swept.items)
    return Ended(swept.items, _in_words(swept.passed_over) if swept.passed_over else None, swept.resume)


def _in_words(error: Exception) -> str:
    first_line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line}"[:_ERROR_CHARS]
