"""Accounts, jobs, chunks, results and workers, with every rule that the database can check itself.

The status strings and the allowed changes are written out here, not imported: a migration is history.
A test holds them equal to `core.job`.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

ACCOUNTS = """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE accounts (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    tier text NOT NULL CHECK (tier IN ('free', 'pro', 'enterprise')),
    operator boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A key itself is never stored, only its SHA-256; `prefix` lets a person tell keys apart.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    prefix text NOT NULL,
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
"""

JOBS = """
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('transcription', 'document')),
    status text NOT NULL CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    stage text NOT NULL CHECK (stage IN ('prepare', 'transcribe', 'embed', 'assemble')),
    lane text NOT NULL CHECK (lane IN ('express', 'standard', 'batch')),
    tier text NOT NULL,
    input_type text NOT NULL CHECK (input_type IN ('upload', 'youtube', 'url')),
    input_name text NOT NULL,
    input_url text,
    input_bytes bigint,
    duration_s double precision,
    pages integer,
    options jsonb NOT NULL,
    metadata jsonb NOT NULL,
    chunks_left integer NOT NULL CHECK (chunks_left >= 0),      -- of the current stage
    chunks_done integer NOT NULL DEFAULT 0,                      -- of transcribe and embed together
    chunks_total integer,                                        -- the same; null until prepared
    compute_s double precision NOT NULL DEFAULT 0,
    warnings jsonb NOT NULL DEFAULT '[]',
    error_code text,
    error_message text,
    error_retryable boolean,
    error_stage text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz NOT NULL,
    chunk_blobs_erased_at timestamptz,
    CHECK (chunks_done >= 0 AND chunks_done <= coalesce(chunks_total, 0)),
    CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CHECK (status <> 'queued' OR started_at IS NULL),
    CHECK (status NOT IN ('processing', 'completed', 'failed') OR started_at IS NOT NULL)
);
CREATE INDEX jobs_by_account ON jobs (account_id, created_at DESC, id DESC);
CREATE INDEX jobs_by_expiry ON jobs (expires_at);
"""

CHUNKS = """
CREATE TABLE chunks (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    stage text NOT NULL CHECK (stage IN ('prepare', 'transcribe', 'embed', 'assemble')),
    ordinal integer NOT NULL,
    queue text NOT NULL,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),     -- the fencing token
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),   -- attempts that are charged
    worker_id text,
    input jsonb NOT NULL,
    output jsonb,
    compute_s double precision,
    error_code text,
    dispatches integer NOT NULL DEFAULT 0,
    dispatched_until timestamptz,                                -- a message is under way until then
    available_at timestamptz NOT NULL DEFAULT now(),             -- backoff after a failure
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    UNIQUE (job_id, stage, ordinal),
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK ((status = 'failed') = (error_code IS NOT NULL))
);
CREATE INDEX chunks_waiting ON chunks (queue, available_at) WHERE status = 'queued';
CREATE INDEX chunks_leased ON chunks (lease_until) WHERE status = 'running';
"""

RESULTS = """
CREATE TABLE segments (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    chunk_ordinal integer NOT NULL,
    ordinal integer NOT NULL,
    start_s double precision NOT NULL CHECK (start_s >= 0),
    end_s double precision NOT NULL,
    text text NOT NULL,
    avg_logprob double precision,
    compression_ratio double precision,
    no_speech_prob double precision,
    temperature double precision,
    words jsonb,
    PRIMARY KEY (job_id, chunk_ordinal, ordinal),
    CHECK (end_s >= start_s)
);

-- A passage cites pages or seconds, never both and never neither.
CREATE TABLE passages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    chunk_ordinal integer NOT NULL,
    ordinal integer NOT NULL,
    text text NOT NULL CHECK (text <> ''),
    page_from integer,
    page_to integer,
    start_s double precision,
    end_s double precision,
    UNIQUE (job_id, chunk_ordinal, ordinal),
    CHECK ((page_from IS NULL) = (page_to IS NULL) AND page_to >= page_from),
    CHECK ((start_s IS NULL) = (end_s IS NULL) AND end_s >= start_s),
    CHECK ((page_from IS NULL) <> (start_s IS NULL))
);

CREATE TABLE vectors (
    passage_id bigint NOT NULL REFERENCES passages ON DELETE CASCADE,
    model text NOT NULL,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    vector vector NOT NULL,
    PRIMARY KEY (passage_id, model)
);
CREATE INDEX vectors_by_account ON vectors (account_id, model);

CREATE TABLE workers (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    device text NOT NULL,
    lanes text[] NOT NULL,
    models text[] NOT NULL,
    current_chunk uuid,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now()
);
"""

# One function for both tables; each trigger names the changes that it lets pass as 'from>to'.
TRANSITIONS = """
CREATE FUNCTION refuse_unknown_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (OLD.status || '>' || NEW.status) = ANY (TG_ARGV) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = concat_ws(' ', TG_TABLE_NAME, OLD.id, 'cannot go from', OLD.status, 'to', NEW.status);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER jobs_transitions BEFORE UPDATE OF status ON jobs
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION refuse_unknown_transition(
    'queued>processing', 'queued>cancelled',
    'processing>completed', 'processing>failed', 'processing>cancelled');

CREATE TRIGGER chunks_transitions BEFORE UPDATE OF status ON chunks
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION refuse_unknown_transition(
    'queued>running', 'queued>cancelled',
    'running>done', 'running>failed', 'running>cancelled', 'running>queued');
"""


def upgrade() -> None:
    """Make everything; there is nothing before this."""
    for part in (ACCOUNTS, JOBS, CHUNKS, RESULTS, TRANSITIONS):
        op.get_bind().exec_driver_sql(part)
