"""How much of a month's quota is left, and what a job takes of it.

A quota is for a calendar month in UTC, by the database's clock. `core.store.usage` keeps the ledger and the totals that
are looked at here: the door asks whether anything is left when a job is submitted (`Balance.exhausted`), and the end of
`prepare`, when the length is known, whether the job fits (`Balance.admits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from core.job import JobKind
from core.tiers import Plan

_MILLI = Decimal("0.001")
"""Amounts are kept to the thousandth, so that sums are exact: those of floats depend on their order."""


class Unit(StrEnum):
    """What is metered."""

    AUDIO_S = "audio_s"
    """Seconds of a recording, from its beginning to its end."""
    PAGES = "pages"
    """Pages of a PDF."""


class Entry(StrEnum):
    """What a line of the ledger says. All amounts are above zero."""

    RESERVE = "reserve"
    """A job was found to be so long: held until it ends."""
    SETTLE = "settle"
    """The job was completed: what was held is used."""
    REFUND = "refund"
    """The job failed, was cancelled or was deleted: what was held is free again."""
    GRANT = "grant"
    """An operator added to the quota of one period."""


_UNITS = {JobKind.TRANSCRIPTION: Unit.AUDIO_S, JobKind.DOCUMENT: Unit.PAGES}


def unit_of(kind: JobKind) -> Unit:
    """What an upload of this kind is metered in. A reindex is none, and is metered in nothing."""
    return _UNITS[kind]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job takes of the quota, or a grant adds to it."""

    unit: Unit
    amount: Decimal

    def __str__(self) -> str:
        """Such as `87.5 s of audio`, or `3 pages`."""
        return f"{self.amount.normalize():f} {'s of audio' if self.unit is Unit.AUDIO_S else 'pages'}"


def amount_of(unit: Unit, amount: float) -> Cost | None:
    """So many seconds or pages, rounded to the thousandth; None for nothing."""
    exact = Decimal(amount).quantize(_MILLI)
    return Cost(unit, exact) if exact else None


def cost_of(kind: JobKind, *, duration_s: float | None, pages: int | None, chunks_total: int | None) -> Cost | None:
    """What a job costs; None if it is not metered, while its length is unknown, or if nothing in it is to be worked."""
    unit = _UNITS.get(kind)
    if unit is None or not chunks_total:
        return None
    return amount_of(unit, (duration_s if unit is Unit.AUDIO_S else pages) or 0)


def limit_of(plan: Plan, unit: Unit) -> Decimal | None:
    """What a plan includes in a month; None is unlimited."""
    limit = plan.monthly_audio_s if unit is Unit.AUDIO_S else plan.monthly_pages
    return None if limit is None else Decimal(limit).quantize(_MILLI)


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar month in UTC, from its first moment to the first of the next, looked at `now`."""

    start: datetime
    end: datetime
    now: datetime

    @property
    def left_s(self) -> float:
        """Seconds until the quota renews."""
        return (self.end - self.now).total_seconds()


def period_at(now: datetime) -> Period:
    """The period in which a moment lies; the moment carries its zone."""
    utc = now.astimezone(UTC)
    start = datetime(utc.year, utc.month, 1, tzinfo=UTC)
    following = start + timedelta(days=31)  # some day of the next month, whatever the length of this one
    return Period(start, datetime(following.year, following.month, 1, tzinfo=UTC), utc)


@dataclass(frozen=True, slots=True)
class Balance:
    """One unit of an account in one period. `limit` is the tier's; None is unlimited, and still metered."""

    unit: Unit
    limit: Decimal | None
    granted: Decimal = Decimal(0)
    used: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal | None:
        """What the tier includes and what was granted; None is unlimited."""
        return None if self.limit is None else self.limit + self.granted

    @property
    def remaining(self) -> Decimal | None:
        """What may still be reserved, never below zero (a lower tier may include less than was used)."""
        return None if self.total is None else max(Decimal(0), self.total - self.used - self.reserved)

    @property
    def exhausted(self) -> bool:
        """Whether not even the shortest job would fit."""
        return self.remaining == 0

    def admits(self, amount: Decimal) -> bool:
        """Whether a job that takes so much fits."""
        return self.remaining is None or amount <= self.remaining


def nothing_left(balance: Balance, period: Period) -> str:
    """Why a submit is refused."""
    return f"Nothing is left of this month's quota. {_left(balance, period)}"


def does_not_fit(cost: Cost, balance: Balance, period: Period) -> str:
    """Why a job fails although something is left."""
    return f"This takes at least {cost}, more than is left of this month's quota. {_left(balance, period)}"


def _left(balance: Balance, period: Period) -> str:
    amounts = (balance.remaining or Decimal(0), balance.total or Decimal(0), balance.reserved)
    remaining, total, reserved = (Cost(balance.unit, amount) for amount in amounts)
    return (
        f"Left: {remaining} of {total} ({reserved} held by jobs that have not ended)."
        f" It renews at {period.end:%Y-%m-%dT%H:%M:%SZ}."
    )
