"""The index of the passages' words stays quick to search while passages are stored."""

from __future__ import annotations

import sqlalchemy as sa

from core.job import JobKind
from core.store.accounts import Account
from core.store.session import Database
from tests.integration import work

FEW_PAGES = 20
"""A list of 64 kB has eight, and a few more of what was being written when it was full."""


def test_few_words_wait_to_be_put_into_the_index(database: Database, account: Account) -> None:
    job_id = work.submit(database, account, JobKind.DOCUMENT)
    texts = [" ".join(f"word{passage}x{word}" for word in range(60)) for passage in range(500)]

    work.execute(
        database,
        """
        INSERT INTO passages (job_id, account_id, chunk_ordinal, ordinal, text, page_from, page_to)
        SELECT :job, :account, 0, n, text, 1, 1 FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS made (text, n)
        """,
        job=job_id,
        account=account.id,
        texts=texts,
    )

    with database.transaction() as connection:
        waiting = connection.scalar(sa.text("SELECT gin_clean_pending_list('passages_by_word'::regclass)"))
    assert waiting is not None
    assert waiting <= FEW_PAGES
