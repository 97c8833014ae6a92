"""The tables as SQLAlchemy Core sees them; `migrations/` makes them, with their CHECKs and triggers.

A test compares this file with a freshly migrated database.
"""

from __future__ import annotations

import sqlalchemy as sa
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, DOUBLE_PRECISION, JSONB, NUMERIC, TIMESTAMP, TSVECTOR, UUID

metadata = sa.MetaData()


def _time(name: str, *, nullable: bool = True, default_now: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if default_now else None
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def _job_id() -> sa.Column[object]:
    return sa.Column("job_id", UUID, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False)


def _account_id() -> sa.Column[object]:
    return sa.Column("account_id", UUID, sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False)


def _account_id_of_the_job() -> sa.Column[object]:
    """No reference of its own: the end of an account would look through all rows for those that went with its jobs."""
    return sa.Column("account_id", UUID, nullable=False)


def _amount(name: str, *, default_0: bool = False) -> sa.Column[object]:
    """Seconds or pages, exact to the thousandth."""
    return sa.Column(name, NUMERIC(14, 3), nullable=False, server_default="0" if default_0 else None)


accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", UUID, primary_key=True, server_default=sa.text("uuidv7()")),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("operator", sa.Boolean, nullable=False, server_default=sa.false()),
    _time("created_at", nullable=False, default_now=True),
    _time("erasing_since"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", UUID, primary_key=True, server_default=sa.text("uuidv7()")),
    _account_id(),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("hash", BYTEA, nullable=False, unique=True),
    _time("created_at", nullable=False, default_now=True),
    _time("revoked_at"),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    _account_id(),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("refused", JSONB, nullable=False),
    _time("created_at", nullable=False, default_now=True),
    _time("cancelled_at"),
    _time("expires_at", nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    _account_id(),
    sa.Column("batch_id", UUID, sa.ForeignKey("batches.id")),
    sa.Column("batch_index", sa.Integer),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("concurrent_jobs", sa.Integer, nullable=False),
    _time("admitted_at"),
    sa.Column("input_type", sa.Text, nullable=False),
    sa.Column("input_name", sa.Text, nullable=False),
    sa.Column("input_url", sa.Text),
    sa.Column("input_bytes", sa.BigInteger),
    sa.Column("duration_s", DOUBLE_PRECISION),
    sa.Column("pages", sa.Integer),
    sa.Column("details", JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("content_key", BYTEA),
    sa.Column("options", JSONB, nullable=False),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("chunks_left", sa.Integer, nullable=False),
    sa.Column("chunks_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("chunks_total", sa.Integer),
    sa.Column("stage_percent", sa.SmallInteger),
    sa.Column("compute_s", DOUBLE_PRECISION, nullable=False, server_default="0"),
    sa.Column("cold_start_s", DOUBLE_PRECISION, nullable=False, server_default="0"),
    sa.Column("warnings", JSONB, nullable=False, server_default=sa.text("'[]'")),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("error_retryable", sa.Boolean),
    sa.Column("error_stage", sa.Text),
    _time("created_at", nullable=False, default_now=True),
    _time("started_at"),
    _time("finished_at"),
    _time("expires_at", nullable=False),
    _time("chunk_blobs_erased_at"),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("id", UUID, primary_key=True, server_default=sa.text("uuidv7()")),
    _job_id(),
    _account_id_of_the_job(),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="queued"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("uncharged", sa.Integer, nullable=False, server_default="0"),
    sa.Column("worker_id", sa.Text),
    sa.Column("input", JSONB, nullable=False),
    sa.Column("output", JSONB),
    sa.Column("compute_s", DOUBLE_PRECISION),
    sa.Column("cold_start_s", DOUBLE_PRECISION),
    sa.Column("error_code", sa.Text),
    sa.Column("dispatches", sa.Integer, nullable=False, server_default="0"),
    _time("dispatched_until"),
    _time("waiting_since", nullable=False, default_now=True),
    _time("retry_at"),
    _time("lease_until"),
    _time("created_at", nullable=False, default_now=True),
    _time("started_at"),
    _time("finished_at"),
    sa.UniqueConstraint("job_id", "stage", "ordinal"),
)

account_turns = sa.Table(
    "account_turns",
    metadata,
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("account_id", UUID, nullable=False),
    _time("served_at", nullable=False, default_now=True),
)

job_turns = sa.Table(
    "job_turns",
    metadata,
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("account_id", UUID, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("job_id", UUID, nullable=False),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("job_id", UUID, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("chunk_ordinal", sa.Integer, primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("start_s", DOUBLE_PRECISION, nullable=False),
    sa.Column("end_s", DOUBLE_PRECISION, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("avg_logprob", DOUBLE_PRECISION),
    sa.Column("compression_ratio", DOUBLE_PRECISION),
    sa.Column("no_speech_prob", DOUBLE_PRECISION),
    sa.Column("temperature", DOUBLE_PRECISION),
    sa.Column("words", JSONB),
)

passages = sa.Table(
    "passages",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _job_id(),
    _account_id_of_the_job(),
    sa.Column("chunk_ordinal", sa.Integer, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("page_from", sa.Integer),
    sa.Column("page_to", sa.Integer),
    sa.Column("start_s", DOUBLE_PRECISION),
    sa.Column("end_s", DOUBLE_PRECISION),
    sa.Column("page_label", sa.Text),
    sa.Column("char_start", sa.Integer),
    sa.Column("char_end", sa.Integer),
    sa.Column("section", sa.Text),
    sa.Column("speaker", sa.Text),
    sa.Column("stemmer", sa.Text, nullable=False, server_default="simple"),
    sa.Column("tsv", TSVECTOR, sa.Computed("passage_tsv(stemmer, text)"), nullable=False),
    sa.UniqueConstraint("job_id", "chunk_ordinal", "ordinal"),
)

embedding_models = sa.Table(
    "embedding_models",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("dimensions", sa.Integer, nullable=False),
)

vectors = sa.Table(
    "vectors",
    metadata,
    sa.Column("passage_id", sa.BigInteger, sa.ForeignKey("passages.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    _account_id(),
    sa.Column("vector", Vector(), nullable=False),
    _time("made_at", nullable=False, default_now=True),
)

speeds = sa.Table(
    "speeds",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("lane", sa.Text, primary_key=True),
    sa.Column("speed", DOUBLE_PRECISION, nullable=False),
    sa.Column("n_chunks", sa.BigInteger, nullable=False, server_default="1"),
    _time("measured_at", nullable=False, default_now=True),
)

usage_events = sa.Table(
    "usage_events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _account_id(),
    sa.Column("job_id", UUID),
    sa.Column("period", sa.Date, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    _amount("amount"),
    _time("created_at", nullable=False, default_now=True),
)

usage_totals = sa.Table(
    "usage_totals",
    metadata,
    sa.Column("account_id", UUID, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("period", sa.Date, primary_key=True),
    sa.Column("unit", sa.Text, primary_key=True),
    _amount("reserved", default_0=True),
    _amount("used", default_0=True),
    _amount("granted", default_0=True),
)

usage_reports = sa.Table(
    "usage_reports",
    metadata,
    sa.Column("account_id", UUID, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("period", sa.Date, primary_key=True),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("jobs", sa.Integer, nullable=False),
    _amount("used_audio_s"),
    _amount("used_pages"),
    _amount("granted_audio_s"),
    _amount("granted_pages"),
    sa.Column("price_weight", NUMERIC, nullable=False),
    sa.Column("weighted_audio_s", NUMERIC, nullable=False),
    sa.Column("weighted_pages", NUMERIC, nullable=False),
    _time("closed_at", nullable=False, default_now=True),
)

daily_reports = sa.Table(
    "daily_reports",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("submitted", sa.Integer, nullable=False),
    sa.Column("completed", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("cancelled", sa.Integer, nullable=False),
    _amount("audio_s"),
    _amount("pages"),
    sa.Column("failures", JSONB, nullable=False),
    sa.Column("wait_p95_s", JSONB, nullable=False),
    _time("written_at", nullable=False, default_now=True),
)

upkeep = sa.Table(
    "upkeep",
    metadata,
    sa.Column("chore", sa.Text, primary_key=True),
    _time("started_at", nullable=False),
    sa.Column("duration_s", DOUBLE_PRECISION, nullable=False),
    sa.Column("items", sa.BigInteger, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("resume", sa.Text),
    _time("succeeded_at"),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),
    sa.Column("items_total", sa.BigInteger, nullable=False),
)

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("id", UUID, primary_key=True, server_default=sa.text("gen_random_uuid()")),
    _time("media_since"),
    _time("restored_at"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("lanes", ARRAY(sa.Text), nullable=False),
    sa.Column("models", ARRAY(sa.Text), nullable=False),
    sa.Column("current_chunk", UUID),
    _time("started_at", nullable=False, default_now=True),
    _time("last_seen", nullable=False, default_now=True),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("account_id", UUID, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("token", UUID, nullable=False),
    sa.Column("fingerprint", BYTEA),
    sa.Column("job_id", UUID, sa.ForeignKey("jobs.id", ondelete="CASCADE")),
    sa.Column("batch_id", UUID, sa.ForeignKey("batches.id", ondelete="CASCADE")),
    sa.Column("status", sa.Integer),
    sa.Column("location", sa.Text),
    sa.Column("body", BYTEA),
    _time("created_at", nullable=False, default_now=True),
    _time("expires_at", nullable=False),
)

sa.Index("jobs_by_account", jobs.c.account_id, jobs.c.created_at.desc(), jobs.c.id.desc())
sa.Index("jobs_by_expiry", jobs.c.expires_at)
sa.Index(
    "jobs_by_batch",
    *(jobs.c.batch_id, jobs.c.batch_index),
    unique=True,
    postgresql_where=jobs.c.batch_id.is_not(None),
)
sa.Index(
    "jobs_by_content",
    *(jobs.c.account_id, jobs.c.content_key),
    postgresql_where=sa.and_(jobs.c.content_key.is_not(None), jobs.c.status == "completed"),
)
sa.Index(
    "jobs_reindexing",
    jobs.c.options["model"].astext,
    unique=True,
    postgresql_where=sa.and_(jobs.c.kind == "reindex", jobs.c.status.in_(("queued", "processing"))),
)
sa.Index("batches_by_expiry", batches.c.expires_at)
sa.Index("batches_by_account", batches.c.account_id)
sa.Index(
    "jobs_admitted",
    *(jobs.c.account_id, jobs.c.lane),
    postgresql_where=sa.and_(jobs.c.admitted_at.is_not(None), jobs.c.status.in_(("queued", "processing"))),
)
sa.Index(
    "jobs_queued",
    *(jobs.c.lane, jobs.c.account_id, jobs.c.id),
    postgresql_where=jobs.c.status == "queued",
)
sa.Index(
    "jobs_held",
    *(jobs.c.account_id, jobs.c.lane, jobs.c.id),
    postgresql_where=sa.and_(jobs.c.admitted_at.is_(None), jobs.c.status == "queued"),
)
_queued = chunks.c.status == "queued"
_waiting = sa.and_(_queued, chunks.c.dispatched_until.is_(None), chunks.c.retry_at.is_(None))
sa.Index(
    "chunks_waiting",
    *(chunks.c.queue, chunks.c.account_id, chunks.c.job_id, chunks.c.ordinal),
    postgresql_where=_waiting,
)
sa.Index(
    "chunks_ageing",
    *(chunks.c.queue, chunks.c.waiting_since),
    postgresql_where=sa.and_(_queued, chunks.c.retry_at.is_(None)),
)
sa.Index(
    "chunks_dispatched",
    chunks.c.dispatched_until,
    postgresql_where=sa.and_(_queued, chunks.c.dispatched_until.is_not(None)),
)
sa.Index("chunks_retrying", chunks.c.retry_at, postgresql_where=sa.and_(_queued, chunks.c.retry_at.is_not(None)))
sa.Index("chunks_leased", chunks.c.lease_until, postgresql_where=chunks.c.status == "running")
sa.Index("idempotency_keys_by_expiry", idempotency_keys.c.expires_at)
sa.Index("idempotency_keys_by_job", idempotency_keys.c.job_id)
sa.Index("idempotency_keys_by_batch", idempotency_keys.c.batch_id)
sa.Index("installation_is_one", sa.text("(true)"), unique=True, _table=installation)
_waiting_words = {"gin_pending_list_limit": 64}  # kB
sa.Index("passages_by_word", passages.c.tsv, postgresql_using="gin", postgresql_with=_waiting_words)
sa.Index("passages_by_stemmer", passages.c.account_id, passages.c.stemmer)
sa.Index("passages_by_text", passages.c.account_id, sa.func.md5(passages.c.text))
sa.Index("vectors_by_account", vectors.c.account_id, vectors.c.model)
_by_period = (usage_events.c.period, usage_events.c.account_id, usage_events.c.unit)
sa.Index("usage_events_by_period", *_by_period)
sa.Index("usage_events_by_job", usage_events.c.job_id, postgresql_where=usage_events.c.job_id.is_not(None))
sa.Index(
    "usage_events_settled",
    usage_events.c.job_id,
    usage_events.c.period,
    unique=True,
    postgresql_where=usage_events.c.kind == "settle",
)
sa.Index("usage_totals_by_period", usage_totals.c.period)
