"""Words that have just been stored wait in a short list: every search by words reads that list from end to end.

Up to 4 MB wait by default, until autovacuum comes by: with such a list a search by words over a hundred thousand
passages took ten times as long as without. No list at all would be as quick to search, and slower to write to.
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

SHORT_LIST = "ALTER INDEX passages_by_word SET (gin_pending_list_limit = 64)"  # kB, the least there is
PUT_AWAY = "SELECT gin_clean_pending_list('passages_by_word'::regclass)"


def upgrade() -> None:
    """What waits already is put into the index."""
    for part in (SHORT_LIST, PUT_AWAY):
        op.get_bind().exec_driver_sql(part)
