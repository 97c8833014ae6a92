"""`scribelane accounts …`: an operator makes and deletes accounts, their keys, tiers and quotas.

The server's libraries are imported when a command runs, so that a client needs none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.cli.server_commands import PANEL, clear_errors, use_local_service
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from core.lanes import Tier
    from core.store.session import Database

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
_S_PER_HOUR = 3600
_MOST_GRACE_H = 366 * 24
_MOST = 10_000_000
"""Of what is granted at once: more than a thousand years of recordings, and less than the ledger can hold."""

accounts = typer.Typer(help="Accounts, their keys, tiers and quotas.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(accounts, name="accounts", rich_help_panel=PANEL)


@accounts.command("create")
def create_account(
    name: Name,
    tier: Annotated[str, typer.Option(help="free, pro or enterprise.")] = "free",
    operator: Annotated[bool, typer.Option("--operator", help="May look at the workers.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Create an account and print its key, once."""
    with clear_errors():
        from core.store import accounts as store

        known = _tier(tier)
        with _transaction(data_dir) as connection:
            account = store.create(connection, name, known, operator=operator)
            key = store.issue_key(connection, account.id)
        typer.echo(key)
        typer.echo(f"This is the only time that the key of {name!r} is shown.", err=True)


@accounts.command("set-tier")
def set_tier(
    name: Name,
    tier: Annotated[str, typer.Argument(metavar="TIER", help="free, pro or enterprise.", show_default=False)],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change an account's tier: its quota at once, all else for jobs that are submitted from now on."""
    with clear_errors():
        from core.store import accounts as store

        known = _tier(tier)
        with _transaction(data_dir) as connection:
            store.set_tier(connection, name, known)
        typer.echo(f"{name!r} is of the tier {known} now.", err=True)


@accounts.command("grant")
def grant(
    name: Name,
    audio_hours: Annotated[float, typer.Option(min=0, max=_MOST, help="Hours of recordings to add.")] = 0,
    pages: Annotated[int, typer.Option(min=0, max=_MOST, help="Pages of PDFs to add.")] = 0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Add to an account's quota of this calendar month (UTC)."""
    with clear_errors():
        from core.errors import Misconfigured
        from core.quota import Unit, amount_of
        from core.store import accounts as store
        from core.store import usage

        granted = [amount_of(Unit.AUDIO_S, audio_hours * _S_PER_HOUR), amount_of(Unit.PAGES, pages)]
        added = [one for one in granted if one is not None]
        if not added:
            raise Misconfigured("Say what to grant: --audio-hours, --pages, or both.")
        with _transaction(data_dir) as connection:
            account = store.by_name(connection, name)
            for one in added:
                usage.grant(connection, account.id, one)
        typer.echo(f"{name!r} has more in this month: {', '.join(map(str, added))}.", err=True)


@accounts.command("keys")
def list_keys(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List an account's keys: how each begins, when it was made, whether it works."""
    with clear_errors():
        from core.store import accounts as store

        with _transaction(data_dir) as connection:
            keys = store.keys_of(connection, store.by_name(connection, name).id)
        table = Table("Prefix", "Made", "", box=None)
        for key in keys:
            end = "" if key.revoked_at is None else f"{key.revoked_at.astimezone():%Y-%m-%d %H:%M}"
            table.add_row(
                key.prefix,
                f"{key.created_at.astimezone():%Y-%m-%d %H:%M}",
                f"works until {end}" if end and key.works else f"revoked {end}" if end else "works",
            )
        Console().print(table)


@accounts.command("rotate")
def rotate_key(
    name: Name,
    grace: Annotated[float, typer.Option(min=0, max=_MOST_GRACE_H, help="Hours that the old keys go on working.")] = 0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a new key, print it once, and revoke the others."""
    with clear_errors():
        from core.store import accounts as store

        with _transaction(data_dir) as connection:
            account = store.by_name(connection, name)
            n_revoked = store.revoke_keys(connection, account.id, grace_s=grace * _S_PER_HOUR)
            key = store.issue_key(connection, account.id)
        typer.echo(key)
        when = f"in {grace:g} h" if grace else "now"
        typer.echo(f"This is the only time that it is shown. Revoked {when}: {n_revoked} older.", err=True)


@accounts.command("revoke")
def revoke_key(
    name: Name,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="As `accounts keys` lists it.", show_default=False)],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Revoke a key at once."""
    with clear_errors():
        from core.errors import NotFound
        from core.store import accounts as store

        with _transaction(data_dir) as connection:
            if not store.revoke_keys(connection, store.by_name(connection, name).id, prefix=prefix):
                raise NotFound(f"{name!r} has no key that works and begins with exactly {prefix!r}.")
        typer.echo(f"The key {prefix}… of {name!r} is revoked.", err=True)


@accounts.command("delete")
def delete_account(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Erase an account with all that it has: keys, jobs, media, text, vectors, and what it used."""
    with clear_errors():
        from core.erasure import erase_account
        from core.errors import Misconfigured
        from core.settings import settings
        from core.store import accounts as store
        from core.store.blobs import Blobs

        with _database(data_dir) as database:
            with database.transaction() as connection:
                account = store.by_name(connection, name)
            if not yes and typer.prompt(f"Nothing of it can be brought back. Type {name!r} to go on", err=True) != name:
                raise Misconfigured("That is another name; nothing was changed.")
            n_erased = erase_account(database, Blobs(settings().blob_url), account.id)
        typer.echo(f"{name!r} is erased, with {n_erased} jobs.", err=True)


def _tier(name: str) -> Tier:
    """Raises `Misconfigured` with the tiers that there are."""
    from core.errors import Misconfigured
    from core.lanes import Tier

    if name not in list(Tier):
        raise Misconfigured(f"No tier {name!r}; there are {', '.join(Tier)}.")
    return Tier(name)


@contextmanager
def _transaction(data_dir: Path) -> Iterator[Connection]:
    """A transaction on the database that the environment or a local service names."""
    with _database(data_dir) as database, database.transaction() as connection:
        yield connection


@contextmanager
def _database(data_dir: Path) -> Iterator[Database]:
    from core.settings import settings
    from core.store.session import Database

    use_local_service(data_dir)
    database = Database(settings().database_url)
    try:
        yield database
    finally:
        database.close()
