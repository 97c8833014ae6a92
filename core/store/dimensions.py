"""All vectors of a model have one length: the database refuses others, and its refusal becomes an error of ours.

The first vector of a model says how long they are (table `embedding_models`, and a trigger on `vectors`). Whoever
stores vectors (`results`, `reindexes`) does it inside `of_one_length`; the query worker calls `check` when it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from core.errors import Misconfigured, ModelUnavailable
from core.store.tables import embedding_models

_CONSTRAINT = "vectors_dimensions"


@contextmanager
def of_one_length() -> Iterator[None]:
    """Storing vectors. Raises `ModelUnavailable` where those that the model has are of another length."""
    try:
        yield
    except IntegrityError as error:
        cause = error.orig
        if isinstance(cause, psycopg.errors.CheckViolation) and cause.diag.constraint_name == _CONSTRAINT:
            said = cause.diag.message_primary
            raise ModelUnavailable(
                f"The vectors are not of their model's length ({said}): drop the old ones."
            ) from error
        raise


def check(connection: Connection, model: str, dimensions: int) -> None:
    """Raises `Misconfigured` where the stored vectors of a model are not as long as the vector of a query will be."""
    stored = connection.scalar(sa.select(embedding_models.c.dimensions).where(embedding_models.c.name == model))
    if stored not in (None, dimensions):
        raise Misconfigured(
            f"The stored vectors of {model} have {stored} dimensions, and those of a query {dimensions}."
        )
