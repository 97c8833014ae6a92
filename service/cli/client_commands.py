"""The commands of a client: results on stdout, everything else on stderr, a non-zero exit on failure.

`calling` connects and follows; `search_command` and `export_commands` have two more of them.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from getpass import getpass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.cli.calling import connected, finished, finished_batch
from service.cli.progress import counted, describe
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir, Key, Url

_stdout = Console()

Source = Annotated[
    str, typer.Argument(metavar="FILE|URL", show_default=False, help="A file, or a URL that the service fetches.")
]
Force = Annotated[bool, typer.Option("--force", help="Do it anew, even if the same was done before.")]
JobId = Annotated[UUID, typer.Argument(metavar="ID", show_default=False)]
IsBatch = Annotated[bool, typer.Option("--batch", help="The ID is that of a batch.")]


class Format(StrEnum):
    """How a transcript is written."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


def register(app: typer.Typer) -> None:
    """Add the client commands to the command line."""
    for command in (transcribe, embed, batch, jobs, status, cancel, retry, reindex, usage):
        app.command(rich_help_panel="Use a service")(command)


def transcribe(
    source: Source,
    format: Annotated[Format, typer.Option("--format", help="How to write the transcript.")] = Format.TEXT,
    model: Annotated[str, typer.Option(help="Whisper model; empty: the service's default.")] = "",
    language: Annotated[str, typer.Option(help="Such as en; empty: detect it.")] = "",
    task: Annotated[str, typer.Option(help="transcribe, or translate into English.")] = "transcribe",
    word_timestamps: Annotated[bool, typer.Option("--word-timestamps", help="Times for each word.")] = False,
    prompt: Annotated[str, typer.Option(help="Text that precedes; steers spelling and style.")] = "",
    lane: Annotated[str, typer.Option(help="express, standard or batch; empty: the account's own.")] = "",
    force: Force = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Transcribe a recording, or a video of YouTube, and print its transcript."""
    options = {"model": model, "language": language, "task": task, "prompt": prompt, "lane": lane}
    options["word_timestamps"] = str(word_timestamps).lower()
    with connected(url, key, data_dir) as client:
        job = finished(client, client.transcribe(_opened(source), options, force=force))
        typer.echo(client.transcript(job.id, format).rstrip("\n"))


def embed(
    source: Source,
    model: Annotated[str, typer.Option(help="Embedding model; empty: the service's default.")] = "",
    lane: Annotated[str, typer.Option(help="express, standard or batch; empty: the account's own.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the PDF's password from standard input; on a terminal, ask.")
    ] = False,
    force: Force = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a PDF searchable and print its job's id."""
    options = {"model": model, "lane": lane}
    if password_stdin:
        options["password"] = _password()
    with connected(url, key, data_dir) as client:
        typer.echo(finished(client, client.embed(_opened(source), options, force=force)).id)


def _opened(source: str) -> Path | str:
    """A URL as it is; else the file, which must be there."""
    if "://" in source:
        return source
    if not os.access(source, os.R_OK) or Path(source).is_dir():
        raise typer.BadParameter(f"{source} is no file that can be read, and no URL", param_hint="FILE|URL")
    return Path(source)


def _password() -> str:
    """As a person types it, unseen, or as a program writes it: never an argument, which other users may read."""
    if sys.stdin.isatty():
        return getpass("Password of the PDF: ")
    return sys.stdin.readline().rstrip("\r\n")


def batch(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, show_default=False)],
    language: Annotated[str, typer.Option(help="Of the recordings, such as en; empty: detect it.")] = "",
    lane: Annotated[str, typer.Option(help="express, standard or batch; empty: batch.")] = "",
    wait: Annotated[bool, typer.Option(help="Follow it to its end.")] = True,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Submit up to 100 recordings and PDFs (*.pdf) at once; print each one's job and how it ended."""
    spoken = {"language": language} if language else {}
    items = [(file, {} if file.suffix.lower() == ".pdf" else spoken) for file in files]
    with connected(url, key, data_dir) as client:
        found = client.submit_batch(items, lane=lane)
        typer.echo(f"batch {found.id}", err=True)
        if wait:
            found = finished_batch(client, found)
    for item in found.items:
        reason = f"  {item['error']['message']} ({item['error']['code']})" if item["error"] else ""
        typer.echo(f"{item['job_id'] or '-':36}  {item['status']:10}  {item['file']}{reason}")
    accepted = {"queued", "processing", "completed"} if not wait else {"completed"}
    if any(item["status"] not in accepted for item in found.items):
        raise typer.Exit(1)


def jobs(
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List your jobs, the newest first."""
    with connected(url, key, data_dir) as client:
        found = client.jobs(limit=limit)
    if not found:
        typer.echo("No jobs yet.", err=True)
        return
    table = Table("ID", "Kind", "Status", "Done", "Input", "Submitted", box=None)
    for job in found:
        table.add_row(job.id, job.kind, job.status, f"{job.percent} %", escape(job.name), job.created_at[:19])
    _stdout.width = max(_stdout.width, 120)
    _stdout.print(table)


def status(
    job_id: JobId, is_batch: IsBatch = False, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Print a job, or a batch, as JSON."""
    with connected(url, key, data_dir) as client:
        found = client.batch(str(job_id)) if is_batch else client.job(str(job_id))
    typer.echo(json.dumps(found.raw, indent=2, ensure_ascii=False))


def cancel(
    job_id: JobId, is_batch: IsBatch = False, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Stop a job, or what has not ended of a batch; what is done stays readable."""
    with connected(url, key, data_dir) as client:
        if is_batch:
            typer.echo(counted(client.cancel_batch(str(job_id))))
        else:
            typer.echo(describe(client.cancel(str(job_id))))


def retry(job_id: JobId, url: Url = None, key: Key = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Try a failed job again and follow it to its end; only what is not done is worked."""
    with connected(url, key, data_dir) as client:
        typer.echo(describe(finished(client, client.retry(str(job_id)))))


def reindex(
    model: Annotated[str, typer.Option(help="Embed all passages that have no vector of this model.")] = "",
    drop: Annotated[str, typer.Option(help="Delete all vectors of this model, which must not be in use.")] = "",
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Embed the text of all accounts with another model, or delete what an old one made. Takes an operator's key."""
    if bool(model) == bool(drop):
        raise typer.BadParameter("give either --model or --drop")
    with connected(url, key, data_dir) as client:
        if model:
            typer.echo(finished(client, client.reindex(model)).id)
        else:
            typer.echo(f"{client.drop_vectors(drop)} vectors of {drop} deleted", err=True)


def usage(
    as_json: Annotated[bool, typer.Option("--json", help="What the service answers, as JSON.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print what is used and left of this month's quotas."""
    with connected(url, key, data_dir) as client:
        found = client.usage()
    if as_json:
        typer.echo(json.dumps(found.raw, indent=2))
        return
    table = Table("", "Limit", "Granted", "Used", "Reserved", "Left", box=None)
    for name, quota, shown in (("audio", found.audio_s, _hours), ("pages", found.pages, _whole)):
        amounts = (quota.limit, quota.granted, quota.used, quota.reserved, quota.remaining)
        table.add_row(name, *("unlimited" if amount is None else shown(amount) for amount in amounts))
    typer.echo(f"Tier {found.tier}; the quota renews at {found.period_end}.", err=True)
    _stdout.print(table)


def _hours(seconds: float) -> str:
    """Such as `30:00:00`: hours, minutes and whole seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _whole(pages: float) -> str:
    return str(int(pages))
