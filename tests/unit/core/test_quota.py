"""What is left of a month, what a job takes of it, and what somebody is told when it does not fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import quota, tiers
from core.job import JobKind
from core.lanes import Tier
from core.quota import Balance, Cost, Unit

UTC = UTC
PERIOD = quota.period_at(datetime(2026, 11, 25, 12, tzinfo=UTC))
DECEMBER = "2026-12-01T00:00:00Z"


def balance(limit: int | None = 100, **amounts: int) -> Balance:
    return Balance(
        Unit.AUDIO_S, None if limit is None else Decimal(limit), **{n: Decimal(a) for n, a in amounts.items()}
    )


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), (2026, 11), (2026, 12)),
        (datetime(2026, 12, 1, tzinfo=UTC), (2026, 12), (2027, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), (2028, 2), (2028, 3)),
        (datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), (2026, 11), (2026, 12)),
    ],
)
def test_a_period_is_a_calendar_month_in_utc(now: datetime, start: tuple[int, int], end: tuple[int, int]) -> None:
    period = quota.period_at(now)

    assert (period.start, period.end) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


def test_the_quota_renews_when_the_month_ends() -> None:
    assert PERIOD.left_s == 5.5 * 86400


@given(st.datetimes(timezones=st.just(UTC), max_value=datetime(9999, 11, 30)))
def test_every_moment_lies_in_its_period(now: datetime) -> None:
    period = quota.period_at(now)

    assert period.start <= now < period.end
    assert period.start == quota.period_at(period.end - timedelta(microseconds=1)).start


def test_what_is_left_counts_grants_use_and_what_is_held() -> None:
    assert balance(granted=50, used=20, reserved=30).remaining == 100


def test_a_job_fits_that_takes_exactly_what_is_left_and_not_a_thousandth_more() -> None:
    left_10 = balance(used=60, reserved=30)

    assert left_10.admits(Decimal(10))
    assert not left_10.admits(Decimal("10.001"))
    assert not left_10.exhausted


def test_after_a_change_to_a_lower_tier_nothing_is_left_rather_than_less() -> None:
    spent = balance(used=300)

    assert (spent.remaining, spent.exhausted) == (Decimal(0), True)


def test_an_unlimited_plan_is_never_used_up() -> None:
    unlimited = balance(None, used=10**9)

    assert (unlimited.remaining, unlimited.exhausted, unlimited.admits(Decimal(10**9))) == (None, False, True)


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        (JobKind.TRANSCRIPTION, Cost(Unit.AUDIO_S, Decimal("87.085"))),
        (JobKind.DOCUMENT, Cost(Unit.PAGES, Decimal(3))),
    ],
)
def test_a_recording_costs_its_seconds_and_a_document_its_pages(kind: JobKind, cost: Cost) -> None:
    assert quota.cost_of(kind, duration_s=87.0849, pages=3, chunks_total=2) == cost


@pytest.mark.parametrize(("duration_s", "chunks_total"), [(87.0, 0), (87.0, None), (None, 2), (0.0001, 1)])
def test_what_is_silent_or_of_unknown_length_costs_nothing(duration_s: float | None, chunks_total: int | None) -> None:
    cost = quota.cost_of(JobKind.TRANSCRIPTION, duration_s=duration_s, pages=None, chunks_total=chunks_total)

    assert cost is None


def test_limits_are_those_of_the_plan() -> None:
    plans = tiers.load()

    assert quota.limit_of(plans.plan(Tier.FREE), Unit.AUDIO_S) == 108_000
    assert quota.limit_of(plans.plan(Tier.PRO), Unit.PAGES) == 30_000
    assert quota.limit_of(plans.plan(Tier.ENTERPRISE), Unit.PAGES) is None


def test_a_refusal_says_what_is_left_of_what_and_when_it_renews() -> None:
    message = quota.nothing_left(balance(granted=50, used=100, reserved=50), PERIOD)

    assert "0 s of audio of 150 s of audio" in message
    assert "50 s of audio held" in message
    assert DECEMBER in message


def test_a_job_that_does_not_fit_is_told_what_it_takes_and_what_is_left() -> None:
    message = quota.does_not_fit(Cost(Unit.AUDIO_S, Decimal("87.500")), balance(used=60), PERIOD)

    assert "87.5 s of audio" in message
    assert "Left: 40 s of audio of 100 s of audio" in message
    assert DECEMBER in message
