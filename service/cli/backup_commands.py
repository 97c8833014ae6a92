"""`scribelane backup` and `scribelane restore`: a whole service in a folder, and back.

They work on the servers that the environment names, or on those of `scribelane up`; where none runs on its folder, its
PostgreSQL is started for as long as it takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.cli.server_commands import PANEL, clear_errors, use_local_service
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)]
_MIB = 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (backup, restore):
        app.command(rich_help_panel=PANEL)(command)


def backup(
    folder: Folder,
    media: Annotated[bool, typer.Option("--blobs", help="Copy the media too, instead of listing it.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write the database, and a list of its media, into a new folder. The service may run."""
    with clear_errors(), _servers(data_dir):
        from core.backup import take
        from core.settings import settings
        from core.store.blobs import Blobs

        own = settings()
        facts = take(own.database_url, Blobs(own.blob_url), folder.absolute(), with_media=media)
        typer.echo(
            f"{folder}: the database in {facts.dump_bytes / _MIB:.1f} MiB, {facts.n_blobs} blobs of "
            f"{facts.blob_bytes / _MIB:.1f} MiB {'copied' if media else 'listed'}.",
            err=True,
        )


def restore(
    folder: Folder,
    force: Annotated[bool, typer.Option("--force", help="Replace what the database holds.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take the media store from the database that it belongs to.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Put a backup back. The service must not run. Lists the media that is missing, and exits with 1 if any is."""
    with clear_errors(), _servers(data_dir, make=True):
        from core import restore as restoring
        from core.settings import settings
        from core.store.blobs import Blobs

        own = settings()
        blobs = Blobs(own.blob_url)
        restored = restoring.restore(own.database_url, blobs, folder.absolute(), force=force, take_over=take_over)
        typer.echo(f"The database is that of {restored.facts.taken_at:%Y-%m-%d %H:%M:%S} UTC.", err=True)
        lacking = [("missing", key) for key in restored.missing] + [("different", key) for key in restored.different]
        for what, key in lacking:
            typer.echo(f"{what}  {key}")
        typer.echo(
            f"Of {restored.facts.n_blobs} blobs {restored.put_back} were put back, "
            f"{len(restored.missing)} are missing, and {len(restored.different)} are not as they were.",
            err=True,
        )
        if lacking:
            raise typer.Exit(1)


@contextmanager
def _servers(data_dir: Path, *, make: bool = False) -> Iterator[None]:
    """Let the settings name servers that run. `make` prepares a folder on which `scribelane up` never ran."""
    if os.environ.get("SCRIBELANE_DATABASE_URL"):
        yield
        return
    from core.errors import Misconfigured
    from service.cli.up import only_one

    data_dir = data_dir.resolve()
    if make:
        data_dir.mkdir(parents=True, exist_ok=True)
    elif not (data_dir / "postgres").exists():
        raise Misconfigured(f"`scribelane up` never ran on {data_dir}, and SCRIBELANE_DATABASE_URL is not set.")
    with ExitStack() as held:
        try:
            held.enter_context(only_one(data_dir))
        except Misconfigured:
            use_local_service(data_dir)
        else:
            held.enter_context(_postgres(data_dir))
        yield


@contextmanager
def _postgres(data_dir: Path) -> Iterator[None]:
    """The PostgreSQL of a folder on which no `scribelane up` runs."""
    from service.embedded import private_folder, start_postgres
    from service.supervisor import Supervisor

    for name in ("blobs", "logs"):
        private_folder(data_dir / name)
    supervisor = Supervisor(data_dir / "logs")
    try:
        os.environ["SCRIBELANE_DATABASE_URL"] = start_postgres(supervisor, data_dir / "postgres")
        os.environ.setdefault("SCRIBELANE_BLOB_URL", (data_dir / "blobs").as_uri())
        yield
    finally:
        supervisor.stop()
