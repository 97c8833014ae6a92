"""Every documented route of the API, so that a new one is never forgotten by the tests that hold for all of them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from core.store.accounts import Account
from core.store.session import Database
from service import routes
from tests.integration import batched, work

OPEN = {"/healthz", "/readyz", "/metrics"}
"""Those that need no key."""


def _routes() -> Iterator[tuple[str, str]]:
    for module in pkgutil.iter_modules(routes.__path__):
        for route in importlib.import_module(f"{routes.__name__}.{module.name}").router.routes:
            assert isinstance(route, APIRoute)
            if route.include_in_schema:  # not HEAD, which goes where GET does
                yield from ((method, route.path) for method in sorted(route.methods or ()))


ROUTES = sorted(_routes())
"""Method and path, read from the route modules: known before there is an application."""

PROTECTED = [(method, path) for method, path in ROUTES if path not in OPEN]


def parameters(path: str) -> set[str]:
    """The names of what stands in a path in braces."""
    return set(re.findall(r"{(\w+)", path))


def belongings(api: TestClient, database: Database, account: Account) -> dict[str, str]:
    """A finished job of the account, with text and vectors, and a batch: what every parameter of a path may name."""
    job_id = work.submit(database, account)
    work.finish(database, job_id)
    return {"job_id": str(job_id), "batch_id": batched.submit(api).json()["id"]}
