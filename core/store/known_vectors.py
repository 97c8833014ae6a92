"""Vectors that an account has already, for texts that it brings again: the next edition of a manual, a letterhead.

The embed stage asks before it infers, so that no model computes what is stored. A vector depends on its text and its
model alone, so it is as good for the other passage; it stays within the account, as everything does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

# One look-up a text in the index `passages_by_text`. Equal hashes only say where to look: the text itself decides.
_KNOWN = (
    sa.text("""
        SELECT wanted.text AS text, known.vector AS vector
        FROM unnest(:texts) AS wanted (text)
        CROSS JOIN LATERAL (
            SELECT v.vector
            FROM passages p JOIN vectors v ON v.passage_id = p.id AND v.model = :model
            WHERE p.account_id = :account AND md5(p.text) = md5(wanted.text) AND p.text = wanted.text
            LIMIT 1
        ) AS known
    """)
    .bindparams(sa.bindparam("texts", type_=ARRAY(sa.Text)))
    .columns(sa.column("text", sa.Text), sa.column("vector", Vector()))
)


def known(connection: Connection, account_id: UUID, model: str, texts: Sequence[str]) -> Mapping[str, Sequence[float]]:
    """By text, the vector of `model` for those of `texts` that a passage of the account has one for."""
    rows = connection.execute(_KNOWN, {"texts": list(texts), "model": model, "account": account_id})
    return {row.text: row.vector for row in rows}
