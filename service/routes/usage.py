"""`GET /v1/usage`: what an account has used this month, and what is left."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, Field

from core.lanes import Tier
from core.quota import Balance, Unit
from core.store import usage
from service.deps import AccountDep, ServiceDep
from service.problems import responses

router = APIRouter(prefix="/v1", tags=["usage"])

Amount = TypeVar("Amount", int, float)


class PeriodOut(BaseModel):
    """A calendar month in UTC; the quota renews at its end."""

    start: datetime
    end: datetime


class QuotaOut(BaseModel, Generic[Amount]):
    """What is included, taken and left. `remaining` = `limit` + `granted` - `used` - `reserved`, and never below 0."""

    limit: Amount | None = Field(description="Of the tier; null is unlimited.")
    granted: Amount = Field(description="Added by an operator, to this period.")
    used: Amount = Field(description="By completed jobs.")
    reserved: Amount = Field(description="Held by jobs that have not ended.")
    remaining: Amount | None = Field(description="Null is unlimited.")


class AccountUsageOut(BaseModel):
    """An account's quotas in the present period: seconds of audio, and pages."""

    tier: Tier
    period: PeriodOut
    audio_s: QuotaOut[float]
    pages: QuotaOut[int]


@router.get("/usage", responses=responses())
def get_usage(service: ServiceDep, account: AccountDep) -> AccountUsageOut:
    """The account's tier, and its quotas in the present calendar month (UTC)."""
    with service.database.transaction() as connection:
        found = usage.of(connection, account.id, service.tiers)
    return AccountUsageOut(
        tier=found.tier,
        period=PeriodOut(start=found.period.start, end=found.period.end),
        audio_s=_quota_out(found.balances[Unit.AUDIO_S], float),
        pages=_quota_out(found.balances[Unit.PAGES], int),
    )


def _quota_out(balance: Balance, number: type[Amount]) -> QuotaOut[Amount]:
    def shown(amount: Decimal | None) -> Amount | None:
        return None if amount is None else number(amount)

    return QuotaOut(
        limit=shown(balance.limit),
        granted=number(balance.granted),
        used=number(balance.used),
        reserved=number(balance.reserved),
        remaining=shown(balance.remaining),
    )
