"""Passages are found by their words too: each has its lexemes beside it, as the stemmer of its language makes them."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

STEMMERS = (
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "estonian", "finnish", "french",
    "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali",
    "norwegian", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish",
    "yiddish",
)  # fmt: skip

# A column of type regconfig would keep pg_upgrade away, and a cast from text is not immutable: so the names stand here.
# A number after a hyphen or a slash, as in K-2041, is a number of its own and not a negative one.
PASSAGE_TSV = f"""
    CREATE FUNCTION passage_tsv(stemmer text, content text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN (
        SELECT CASE stemmer
            {" ".join(f"WHEN '{name}' THEN to_tsvector('{name}'::regconfig, plain)" for name in STEMMERS)}
            ELSE to_tsvector('simple'::regconfig, plain)
        END
        FROM (SELECT regexp_replace(content, '[-/](?=[0-9])', ' ', 'g')) AS of (plain)
    )
"""
COLUMNS = """
    ALTER TABLE passages
        ADD COLUMN stemmer text NOT NULL DEFAULT 'simple',
        ADD COLUMN tsv tsvector NOT NULL GENERATED ALWAYS AS (passage_tsv(stemmer, text)) STORED
"""
BY_WORD = "CREATE INDEX passages_by_word ON passages USING gin (tsv)"
BY_STEMMER = "CREATE INDEX passages_by_stemmer ON passages (account_id, stemmer)"


def upgrade() -> None:
    """What is there already is found by its words as they are written."""
    for part in (PASSAGE_TSV, COLUMNS, BY_WORD, BY_STEMMER):
        op.get_bind().exec_driver_sql(part)
