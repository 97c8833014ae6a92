"""`scribelane accounts …`: an operator makes accounts, changes their tier, grants them quota.

The server's libraries are imported when a command runs, so that a client needs none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.server_commands import PANEL, clear_errors, use_local_service
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from core.lanes import Tier

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
_S_PER_HOUR = 3600
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
    from core.settings import settings
    from core.store.session import Database

    use_local_service(data_dir)
    with Database(settings().database_url).transaction() as connection:
        yield connection
