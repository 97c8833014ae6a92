"""Passages may be embedded anew with another model, by a job; and all vectors of a model have one length."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

# The model is in the options of the job. Two who embed the same passages would do the work twice.
KIND = """
    ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check, DROP CONSTRAINT jobs_input_type_check;
    ALTER TABLE jobs
        ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('transcription', 'document', 'reindex')),
        ADD CONSTRAINT jobs_input_type_check CHECK (input_type IN ('upload', 'youtube', 'url', 'passages')),
        ADD CONSTRAINT jobs_reindex_check CHECK ((kind = 'reindex') = (input_type = 'passages')),
        ADD CONSTRAINT jobs_reindex_model_check CHECK (kind <> 'reindex' OR options->>'model' IS NOT NULL);
    CREATE UNIQUE INDEX jobs_reindexing ON jobs ((options->>'model'))
        WHERE kind = 'reindex' AND status IN ('queued', 'processing');
"""

# Where a model has vectors of several lengths, a search by it fails; those that are fewer go, and a reindex
# makes them anew.
MODELS = """
    CREATE TABLE embedding_models (
        name text PRIMARY KEY,
        dimensions integer NOT NULL CHECK (dimensions > 0)
    );
    INSERT INTO embedding_models (name, dimensions)
    SELECT model, mode() WITHIN GROUP (ORDER BY vector_dims(vector)) FROM vectors GROUP BY model;
    DELETE FROM vectors v USING embedding_models m
    WHERE m.name = v.model AND m.dimensions <> vector_dims(v.vector);
"""

# Which vector of a passage is the one that its own job made: the first.
MADE_AT = "ALTER TABLE vectors ADD COLUMN made_at timestamptz NOT NULL DEFAULT now()"

# The first vector of a model says how long all others are. A reference with the length in it would do the same, and
# lock the model's row with each vector.
ONE_LENGTH = """
    CREATE FUNCTION refuse_other_dimensions() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        own integer := vector_dims(NEW.vector);
        known integer;
    BEGIN
        SELECT dimensions INTO known FROM embedding_models WHERE name = NEW.model;
        IF NOT FOUND THEN
            INSERT INTO embedding_models VALUES (NEW.model, own) ON CONFLICT DO NOTHING;
            SELECT dimensions INTO known FROM embedding_models WHERE name = NEW.model;
        END IF;
        IF own <> known THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'vectors_dimensions',
                MESSAGE = concat_ws(' ', 'a vector of', NEW.model, 'has', known, 'dimensions, not', own);
        END IF;
        RETURN NEW;
    END $$;

    CREATE TRIGGER vectors_dimensions BEFORE INSERT OR UPDATE OF model, vector ON vectors
    FOR EACH ROW EXECUTE FUNCTION refuse_other_dimensions();
"""


def upgrade() -> None:
    """What is there keeps its vectors, but for those of a wrong length."""
    for part in (KIND, MODELS, MADE_AT, ONE_LENGTH):
        op.get_bind().exec_driver_sql(part)
