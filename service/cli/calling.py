"""What client commands do around their calls: connect, follow a job to its end, and tell a refusal in one line.

The commands stand on it; `settings_of_client` finds the service, `progress` shows how far a job is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from service.answers import BatchStatus, JobStatus
from service.cli.progress import counted, following
from service.cli.settings_of_client import connect
from service.client import Client, ClientError

_stderr = Console(stderr=True)


def finished(client: Client, job: JobStatus) -> JobStatus:
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


def finished_batch(client: Client, found: BatchStatus) -> BatchStatus:
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
