"""The command that writes a job's passages and vectors to a file or to stdout. `client_commands` has the others."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from service.cli.calling import connected
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir, Key, Url


class Form(StrEnum):
    """How passages are written."""

    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel="Use a service")(passages)


def passages(
    job_id: Annotated[UUID, typer.Argument(metavar="ID", show_default=False)],
    format: Annotated[Form, typer.Option("--format", help="One JSON object, JSON Lines, or Parquet.")] = Form.JSONL,
    vectors: Annotated[bool, typer.Option("--vectors", help="With the vector of each passage.")] = False,
    model: Annotated[str, typer.Option(help="With --vectors: those of which model; empty: the job's own.")] = "",
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="A file; none: stdout.")] = None,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write all passages of a job, with their vectors if asked for."""
    if output is None and format is Form.PARQUET and sys.stdout.isatty():
        typer.echo("error: Parquet is nothing to read on a terminal; give --output FILE.", err=True)
        raise typer.Exit(2)
    if model and not vectors:
        raise typer.BadParameter("it says whose vectors: give --vectors, too", param_hint="--model")
    with connected(url, key, data_dir) as client:
        pieces = client.passages(str(job_id), format, vectors=vectors, model=model)
        if output is None:
            for piece in pieces:
                typer.echo(piece, nl=False)
            return
        # Under its own name only when it is whole.
        partial = output.with_name(f"{output.name}.part")
        try:
            with partial.open("wb") as file:
                file.writelines(pieces)
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
