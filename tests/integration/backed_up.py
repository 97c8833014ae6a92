"""What tests of backups share: a service with a job in it, and everything that a database holds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from uuid import UUID

import psycopg

from core.store.accounts import Account
from core.store.blobs import Blobs, chunk_key, input_key
from core.store.session import Database
from tests.conftest import Servers
from tests.integration import work

MEDIA, AUDIO = b"RIFF, and more", b"audio of a chunk"


def with_media(database: Database, account: Account, blobs: Blobs) -> UUID:
    """A job in work, of two chunks, with its media and the audio of one chunk."""
    job_id = work.submit(database, account)
    blobs.put(input_key(job_id), MEDIA)
    blobs.put(chunk_key(job_id, 0), AUDIO)
    work.prepare(database, job_id, 2)
    work.complete(database, work.claim_one(database, job_id))
    work.claim_one(database, job_id)
    return job_id


def rows(database: Database) -> Mapping[str, Sequence[str]]:
    """Every row of every table, as text."""
    tables = work.execute(database, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return {
        table.name: [row[0] for row in work.execute(database, f"SELECT t::text FROM {table.name} t ORDER BY 1")]
        for table in tables
    }


def let_go(*databases: Database) -> None:
    """Close the connections of this process, as a service does that is stopped; the next use opens new ones."""
    for database in databases:
        database.close()


def new_database(servers: Servers, owner: str | None = None) -> str:
    """The URL of a database without tables; of a role of its own that is no superuser, if one is named."""
    name = f"restored_{uuid.uuid4().hex}"
    with psycopg.connect(servers.template_url.replace("/template?", "/postgres?"), autocommit=True) as connection:
        if owner is not None:
            connection.execute(f"CREATE ROLE {owner} LOGIN".encode())
        connection.execute(f"CREATE DATABASE {name} OWNER {owner or 'postgres'}".encode())
    url = servers.template_url.replace("/template?", f"/{name}?")
    return url if owner is None else url.replace("postgres@", f"{owner}@")
