"""The commands of a client: results on stdout, everything else on stderr, a non-zero exit on failure."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.answers import BatchStatus, Hit, JobStatus
from service.cli.progress import counted, describe, following
from service.cli.settings_of_client import DEFAULT_DATA_DIR, DataDir, Key, Url, connect
from service.client import Client, ClientError

_stderr = Console(stderr=True)
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


class Mode(StrEnum):
    """By what a search finds."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class Kind(StrEnum):
    """Which sort of job."""

    TRANSCRIPTION = "transcription"
    DOCUMENT = "document"


def register(app: typer.Typer) -> None:
    """Add the client commands to the command line."""
    for command in (transcribe, embed, batch, search, jobs, status, cancel, retry, reindex, usage):
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
        job = _finish(client, client.transcribe(_opened(source), options, force=force))
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
        typer.echo(_finish(client, client.embed(_opened(source), options, force=force)).id)


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
            found = _finish_batch(client, found)
    for item in found.items:
        reason = f"  {item['error']['message']} ({item['error']['code']})" if item["error"] else ""
        typer.echo(f"{item['job_id'] or '-':36}  {item['status']:10}  {item['file']}{reason}")
    accepted = {"queued", "processing", "completed"} if not wait else {"completed"}
    if any(item["status"] not in accepted for item in found.items):
        raise typer.Exit(1)


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=100)] = 5,
    mode: Annotated[Mode, typer.Option(help="By meaning, by words, or by both.")] = Mode.HYBRID,
    kind: Annotated[Kind | None, typer.Option(help="Only recordings, or only documents.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only jobs with it; repeat it.")
    ] = None,
    rerank: Annotated[
        bool | None, typer.Option("--rerank/--no-rerank", help="By a cross-encoder; default: if there is one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Find passages by meaning and by words, with the page or the time where they stand."""
    with connected(url, key, data_dir) as client:
        wanted = {"limit": limit, "mode": mode, "kind": kind, "metadata": _pairs(metadata), "rerank": rerank}
        found = client.found(query, **wanted)
    for warning in found.warnings:
        typer.echo(warning["message"], err=True)
    for hit in found.hits:
        if as_json:
            typer.echo(json.dumps({name: getattr(hit, name) for name in Hit.__slots__}, ensure_ascii=False))
        else:
            reread = hit.scores.get("rerank")
            score = hit.score if reread is None else reread  # by which they are in order
            typer.echo(f"{score:.2f}  {hit.name}, {citation(hit)}\n      {_highlighted(hit)}\n")
    if not found.hits:
        typer.echo("Nothing found.", err=True)


def _pairs(given: list[str] | None) -> dict[str, str] | None:
    """`NAME=VALUE` as metadata."""
    if not given:
        return None
    if wrong := [one for one in given if "=" not in one]:
        raise typer.BadParameter(f"{wrong[0]!r} is not of the form NAME=VALUE", param_hint="--metadata")
    return dict(one.split("=", 1) for one in given)


def _highlighted(hit: Hit) -> str:
    """The text, with the query's words in bold; `typer.echo` leaves that out where it does not write to a terminal."""
    text, at = "", 0
    for start, end in hit.highlights:
        text += hit.text[at:start] + typer.style(hit.text[start:end], bold=True)
        at = end
    return text + hit.text[at:]


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
        typer.echo(describe(_finish(client, client.retry(str(job_id)))))


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
            typer.echo(_finish(client, client.reindex(model)).id)
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


def citation(hit: Hit) -> str:
    """Where to look: `p. 3`, `pp. iii–iv`, `00:41–00:52`, and a link if there is one."""
    where = hit.citation
    place = where["label"] if "page_from" in where else f"{_clock(where['start_s'])}–{_clock(where['end_s'])}"
    return f"{place}  {where['url']}" if "url" in where else str(place)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def _finish(client: Client, job: JobStatus) -> JobStatus:
    """Follow the job to its end; says what went wrong and exits with 1 if it did not complete."""
    if job.reused_from:
        typer.echo(
            f"This was done before, on {job.created_at[:10]}: job {job.id}. With --force it is done anew.", err=True
        )
    try:
        with following(_stderr) as follow:
            job = client.wait(job.id, follow)
    except KeyboardInterrupt:
        typer.echo(f"The job goes on: scribelane status {job.id}, or scribelane cancel {job.id}", err=True)
        raise typer.Exit(130) from None
    for warning in job.warnings:
        typer.echo(f"warning: {_when(warning)}{warning['message']} ({warning['code']})", err=True)
    if job.status != "completed":
        reason = f"{job.error['message']} ({job.error['code']})" if job.error else job.status
        typer.echo(f"error: {reason}", err=True)
        raise typer.Exit(1)
    return job


def _finish_batch(client: Client, found: BatchStatus) -> BatchStatus:
    """Follow the batch until all its jobs have ended."""
    seen = ""

    def follow(now: BatchStatus) -> None:
        nonlocal seen
        if seen != (seen := counted(now)):
            typer.echo(seen, err=True)

    try:
        return client.wait_batch(found.id, follow)
    except KeyboardInterrupt:
        shown = f"scribelane status --batch {found.id}, or scribelane cancel --batch {found.id}"
        typer.echo(f"The batch goes on: {shown}", err=True)
        raise typer.Exit(130) from None


@contextmanager
def connected(url: str | None, key: str | None, data_dir: Path) -> Iterator[Client]:
    """A connected client; a refusal becomes one line on stderr and exit 1."""
    try:
        with connect(url, key, data_dir) as client:
            yield client
    except ClientError as error:
        typer.echo(f"error: {error} ({error.code})", err=True)
        raise typer.Exit(1) from error


def _when(warning: Mapping[str, Any]) -> str:
    """Which part of a recording a warning is about, as a player shows it."""
    if warning.get("start_s") is None:
        return ""
    begin, end = (timedelta(seconds=int(warning[name])) for name in ("start_s", "end_s"))
    return f"{begin} to {end}: "
