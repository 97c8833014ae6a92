"""What routes are given: the service's stores, and the account that a request acts for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from celery import Celery
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from core.content_key import DefaultModels
from core.dispatch import Bell
from core.errors import Forbidden, Unauthorized
from core.links import UrlHosts
from core.store import accounts
from core.store.accounts import Account
from core.store.blobs import Blobs
from core.store.session import Database
from core.subtitles import Layout
from core.tiers import Tiers
from service import rates
from service.metrics import UpkeepMetrics
from service.rates import Rates

_bearer = HTTPBearer(auto_error=False, description="An API key, `sl_…`, from `scribelane accounts create`.")


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that the API holds while it runs. A worker unheard of for `worker_silence_s` is taken for gone.

    `rerank_timeout_s` None: no model re-ranks.
    """

    database: Database
    blobs: Blobs
    celery: Celery
    bell: Bell
    broker_url: str
    tiers: Tiers
    rates: Rates
    upkeep_metrics: UpkeepMetrics
    subtitles: Layout
    url_hosts: UrlHosts
    default_models: DefaultModels
    query_timeout_s: float
    rerank_timeout_s: float | None
    worker_silence_s: float


# Here and in `service.submit`, what waits for nothing is `async`: FastAPI hands a plain function to a thread, and on a
# busy API each such passing on costs more than the function.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def _account(
    request: Request,
    service: ServiceDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Account:
    if credentials is None:
        raise Unauthorized()
    with service.database.transaction() as connection:
        account = accounts.by_key(connection, credentials.credentials)
    if account is None:
        raise Unauthorized("This key is not known, or it has been revoked.")
    standing = service.rates.take(account.id, service.tiers.plan(account.tier).requests_per_minute)
    if standing is not None:
        rates.remember(request.scope, standing)
        if not standing.allowed:
            raise standing.refusal()
    return account


AccountDep = Annotated[Account, Depends(_account)]
"""The account of a valid key that has not asked too often. Every call of `/v1` depends on it, or on `OperatorDep`."""


async def _operator(account: AccountDep) -> Account:
    if not account.operator:
        raise Forbidden("Only an operator's key may do this.")
    return account


OperatorDep = Annotated[Account, Depends(_operator)]
