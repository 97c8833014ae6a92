"""The commands of an operator: run the servers, migrate, find what is wrong. `account_commands` has those of accounts.

Their libraries are imported when a command runs, so that a client needs none of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir

if TYPE_CHECKING:
    from service.processes import Command

PANEL = "Run a service"


def register(app: typer.Typer) -> None:
    """Add the server commands to the command line."""
    for command in (up, api, worker, beat, migrate, doctor):
        app.command(rich_help_panel=PANEL)(command)


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API on 127.0.0.1.")] = 8000,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run everything on this machine until Ctrl-C: servers, API, workers, Beat."""
    with clear_errors():
        from core.logs import configure_logging
        from core.settings import settings
        from service.cli import up as whole_service

        _check_settings()
        configure_logging(settings().log_level)
        # The environment changes while `up` starts its servers, so the settings are read again then.
        settings.cache_clear()
        typer.echo(f"starting; the logs are in {data_dir / 'logs'}", err=True)
        whole_service.run(data_dir, port)


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Run the HTTP API."""
    with clear_errors():
        from service import processes

        _become(processes.api(host, port))


def worker(
    device: Annotated[str, typer.Option(help="cpu, or cuda:0, cuda:1, …: one worker a GPU.")] = "cpu",
    lanes: Annotated[
        str,
        typer.Option(help="Lanes to work, comma-separated: express, standard, batch; or query for searches."),
    ] = "express,standard,batch",
    io: Annotated[bool, typer.Option("--io", help="Open inputs and stitch results instead of inferring.")] = False,
) -> None:
    """Run a worker."""
    with clear_errors():
        from service import processes

        wanted = [lane.strip() for lane in lanes.split(",") if lane.strip()]
        if io:
            _become(processes.io_worker())
        elif wanted == ["query"] and device == "cpu":
            _become(processes.query_worker())
        else:
            _become(processes.inference_worker(device, wanted, processes.cpu_division()))


def beat() -> None:
    """Run Beat: the ticks that dispatch, rescue, and keep things in order."""
    with clear_errors():
        from service import processes

        _become(processes.beat())


def migrate(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Bring the database to the newest revision."""
    with clear_errors():
        from core.settings import settings
        from core.store import migrations
        from core.store.session import Database

        use_local_service(data_dir)
        typer.echo(f"database at revision {migrations.upgrade(Database(settings().database_url, transaction_s=None))}")


def doctor(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Check this machine and this configuration; say what is missing and what to do."""
    with clear_errors():
        from core.errors import Misconfigured
        from core.settings import settings

        with suppress(Misconfigured):  # nothing runs here: then the doctor says so, beside all else
            use_local_service(data_dir)
        settings()  # the doctor reads them too, and has no clear errors of its own
        raise typer.Exit(subprocess.run([sys.executable, "-m", "workers.doctor"], check=False).returncode)


def _become(command: Command) -> None:
    """Turn this process into the command, so that signals reach it directly. Raises `Misconfigured` before that."""
    from core.errors import Misconfigured
    from core.settings import settings

    own = settings()
    for name in ("database_url", "broker_url", "blob_url"):
        if not getattr(own, name):
            raise Misconfigured(f"SCRIBELANE_{name.upper()} is not set; `scribelane up` needs none of them.")
    _check_settings()
    os.environ.update(command.environment)
    os.execv(command.argv[0], list(command.argv))


def _check_settings() -> None:
    """Raises `Misconfigured` for a default model that does not exist, or for tiers that cannot work.

    What is set and is no setting is named, and changes nothing.
    """
    from core import tiers
    from core.errors import Misconfigured
    from core.settings import settings, unknown_variables
    from models.registry import ModelKind, names

    own = settings()
    for line in unknown_variables():
        typer.echo(f"warning: {line}", err=True)
    tiers.load(own.tiers_file)
    for kind, model in ((ModelKind.WHISPER, own.whisper_model), (ModelKind.EMBEDDING, own.embedding_model)):
        if model and model not in names(kind):
            raise Misconfigured(f"There is no {kind} model named {model!r}; there are {', '.join(names(kind))}.")
    if own.rerank_model and own.rerank_model not in names(ModelKind.RERANKER) and own.models_dir is None:
        known = ", ".join(names(ModelKind.RERANKER))
        raise Misconfigured(
            f"There is no re-ranker named {own.rerank_model!r}; there are {known}, "
            "and any that lies in a folder of that name under SCRIBELANE_MODELS_DIR."
        )


def use_local_service(data_dir: Path) -> None:
    """Where the environment names no servers, use those of a `scribelane up` that runs on the folder."""
    from core.errors import Misconfigured
    from service.cli.up import ENVIRONMENT_FILE

    if os.environ.get("SCRIBELANE_DATABASE_URL"):
        return
    try:
        os.environ.update(json.loads((data_dir / ENVIRONMENT_FILE).read_text()))
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"No `scribelane up` runs on {data_dir}, and SCRIBELANE_DATABASE_URL is not set."
        ) from error


@contextmanager
def clear_errors() -> Iterator[None]:
    """One line instead of a stack trace for what an operator can mend."""
    try:
        yield
    except (typer.Exit, KeyboardInterrupt):
        raise
    except Exception as error:
        lines = _advice(error)
        if not lines:
            raise
        for line in lines:
            typer.echo(f"error: {line}", err=True)
        raise typer.Exit(1) from error


def _advice(error: Exception) -> list[str]:
    """What to tell an operator; nothing for an error that is the program's own fault."""
    if isinstance(error, ModuleNotFoundError):
        return [f"this command needs the server's libraries: install scribelane[server] ({error})"]
    from pydantic import ValidationError
    from sqlalchemy.exc import OperationalError

    from core.errors import ScribelaneError

    if isinstance(error, ScribelaneError):
        return [error.message]
    if isinstance(error, ValidationError):
        return [
            ": ".join([*(f"SCRIBELANE_{part}".upper() for part in one["loc"]), one["msg"]]) for one in error.errors()
        ]
    if isinstance(error, OperationalError):
        return [f"the database does not answer: {str(error.orig).splitlines()[0]}"]
    return []
