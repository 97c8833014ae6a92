"""How a waiting person sees a job: a live bar on a terminal, a line for each change in a log. On stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.answers import BatchStatus, JobStatus


class Follower(Protocol):
    """Takes each poll of a job."""

    def __call__(self, job: JobStatus) -> None: ...


def describe(job: JobStatus) -> str:
    """One line: `talk.mp3: transcribe, 3/12 chunks, 25 %, about 40 s left`."""
    if job.status == "queued":
        return f"{job.name}: queued" + (f", number {place}" if (place := job.raw.get("queue_position")) else "")
    if job.ended:
        return f"{job.name}: {job.status}"
    return ", ".join([f"{job.name}: {job.stage}", *_counts(job), *_fetched(job)])


def counted(batch: BatchStatus) -> str:
    """One line: `processing: 2 queued, 1 completed, of 3`."""
    counts = {name: n for name, n in batch.request_counts.items() if n and name != "total"}
    named = ", ".join(f"{n} {name}" for name, n in counts.items())
    return f"{batch.status}: {named}, of {batch.request_counts['total']}"


def _fetched(job: JobStatus) -> list[str]:
    return [] if job.stage_percent is None else [f"{job.stage_percent} % fetched"]


def _counts(job: JobStatus) -> list[str]:
    if job.chunks_total is None:
        return []
    counts = [f"{job.chunks_done}/{job.chunks_total} chunks", f"{job.percent} %"]
    return counts if job.eta_s is None else [*counts, f"about {duration(job.eta_s)} left"]


def duration(seconds: float) -> str:
    """`40 s`, `3 min 20 s`, `1 h 05 min`."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def following(console: Console) -> Iterator[Follower]:
    """A follower for one job, fitting where stderr goes."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, str, int, int] | None = None

    def __call__(self, job: JobStatus) -> None:
        state = (job.status, job.stage, job.chunks_done, (job.stage_percent or 0) // 10)
        if state != self._last:
            self._last = state
            self._console.print(describe(job), markup=False, highlight=False, soft_wrap=True)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, counts="")

    def __call__(self, job: JobStatus) -> None:
        doing = job.status if job.status == "queued" or job.ended else job.stage
        self._progress.update(
            self._task,
            description=f"{job.name} {doing}",
            total=100 if job.chunks_total is not None or job.stage_percent is not None else None,
            completed=job.stage_percent if job.chunks_total is None and job.stage_percent is not None else job.percent,
            counts=", ".join([*_counts(job), *_fetched(job)]),
        )
