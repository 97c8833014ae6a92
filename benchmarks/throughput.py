"""What of the hardware's speed reaches the user? A long recording through the whole service, and faster-whisper alone.

    .venv/bin/python -m benchmarks.throughput --data FOLDER [--device cuda] [--minutes 30] [--long-hours 3]

FOLDER holds FLEURS utterances (`benchmarks/recordings.py`); they and the project's sample, joined, are the recording.
It goes through `scribelane up` by HTTP as a user's would: upload, decoding, finding speech, cutting, the queue,
inference, the database. Left out is the embedding for search, which faster-whisper does not do. Beside it stands
faster-whisper in a process of its own (`benchmarks/in_process.py`), with the same weights and as many threads as there
are cores, one way after the other. Models are loaded before the clock starts, by a first short job.

- *× real time* is the length of the recording over the time from the submit to the end;
- *CPU* is the processor time of all processes over that of all cores;
- *memory* is the most that the processes held at once (anonymous memory, `benchmarks/memory.py`);
- *first segment* is the time from the submit until text can be read;
- *overhead a chunk* is the time of a worker between the end of a chunk's work and the begin of the next one's.

Word error rates say which ways are of one class: a way counts against the service if it errs no more than it and a
hundredth. With `--long-hours` a recording of that length is submitted as well, and one of three minutes: for each the
first segment and the memory of the io worker, until the long one is cut as a whole.

The tables go to standard output and to `benchmarks/results/throughput.json`. The exit status is 1 if a way of the same
class is faster, the io worker holds more than 600 MB, or the first segment of the long recording takes more than twice
that of the short one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import jiwer
import psutil

from benchmarks.accuracy import normalise
from benchmarks.in_process import WAYS
from benchmarks.loaded_service import SAMPLE, LoadedService, loaded_service
from benchmarks.memory import Peak
from benchmarks.recordings import joined, write_flac

RESULTS = Path(__file__).parent / "results" / "throughput.json"
RATE_HZ = 16_000
SAME_CLASS = 0.01
IO_LIMIT_MB, FIRST_LIMIT = 600.0, 2.0
SHORT_S = 180.0
_EVERY_S = 0.25
SERVICE = "scribelane, whole service"
WANTED = {"index": "false", "language": "en"}

_TOOK = """
SELECT extract(epoch FROM finished_at - created_at)::float AS wall_s,
       extract(epoch FROM first - created_at)::float AS first_s
FROM jobs, LATERAL (
    SELECT min(finished_at) AS first FROM chunks WHERE job_id = jobs.id AND stage = 'transcribe' AND status = 'done'
) chunks WHERE id = :job
"""
_CUT = """
SELECT extract(epoch FROM c.finished_at - j.created_at)::float AS cut_s
FROM jobs j JOIN chunks c ON c.job_id = j.id AND c.stage = 'prepare' AND c.status = 'done' WHERE j.id = :job
"""
_OVERHEAD = """
SELECT avg(s)::float AS s, count(*) + 1 AS n FROM (
    SELECT extract(epoch FROM started_at - lag(finished_at) OVER (PARTITION BY worker_id ORDER BY started_at)) AS s
    FROM chunks WHERE job_id = :job AND stage = 'transcribe'
) gaps WHERE s IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One way through the recording. Times in seconds, memory in MB (10^6 bytes)."""

    way: str
    times_real_time: float
    word_error_rate: float
    wall_s: float
    first_s: float
    cpu_share: float
    memory_mb: float
    io_mb: float | None = None
    chunks: int | None = None
    overhead_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """How a recording of one length begins. `io_mb` is the most that the io worker held until all of it was cut."""

    hours: float
    first_s: float
    cut_s: float
    io_mb: float


def through_the_service(service: LoadedService, file: Path, reference: str, length_s: float) -> Row:
    """The recording as a user would have it transcribed."""
    client, up = service.clients["user"], service.local.process.pid
    client.wait(client.transcribe(SAMPLE, WANTED, force=True).id)  # the models are loaded, and their speed is known
    began_s = _cpu_s(up)
    with Peak(up) as peak:
        job = client.wait(client.transcribe(file, WANTED, force=True).id)
    cpu_s = _cpu_s(up) - began_s
    if job.status != "completed":
        raise SystemExit(f"the job has {job.status}: {job.error}")
    (took,) = service.rows(_TOOK, job=job.id)
    (gaps,) = service.rows(_OVERHEAD, job=job.id)
    return Row(
        way=SERVICE,
        times_real_time=length_s / took.wall_s,
        word_error_rate=_error(reference, client.transcript(job.id)),
        wall_s=took.wall_s,
        first_s=took.first_s,
        cpu_share=_share(cpu_s, took.wall_s),
        memory_mb=peak.most_mb,
        io_mb=peak.io_mb,
        chunks=gaps.n,
        overhead_ms=1000 * gaps.s if gaps.s is not None else None,
    )


def alone(way: str, file: Path, reference: str, length_s: float, device: str) -> Row:
    """faster-whisper, one way, in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.in_process", way, str(file), device, str(os.cpu_count())]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    with Peak(process.pid) as peak:
        said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"faster-whisper, {way}: ended with {process.returncode}")
    took = json.loads(said)
    return Row(
        way=f"faster-whisper, {way}",
        times_real_time=length_s / took["wall_s"],
        word_error_rate=_error(reference, took["text"]),
        wall_s=took["wall_s"],
        first_s=took["first_s"],
        cpu_share=_share(took["cpu_s"], took["wall_s"]),
        memory_mb=peak.most_mb,
    )


def opened(service: LoadedService, file: Path, hours: float) -> Opening:
    """How a recording begins: until its first segment, and until all of it is cut. What is left is cancelled."""
    client, up = service.clients["user"], service.local.process.pid
    with Peak(up) as peak:
        job = client.transcribe(file, WANTED, force=True)
        _await(service, "SELECT first_s FROM (" + _TOOK.rstrip() + ") took WHERE first_s IS NOT NULL", job.id)
        (took,) = _await(service, _CUT, job.id)
    (first,) = service.rows(_TOOK, job=job.id)
    if client.job(job.id).status == "processing":
        client.cancel(job.id)
    return Opening(hours, first.first_s, took.cut_s, peak.io_mb)


def _await(service: LoadedService, statement: str, job_id: str) -> Sequence[Any]:
    """What the database says as soon as it says anything. Gives up on a job that failed."""
    while not (found := service.rows(statement, job=job_id)):
        if service.clients["user"].job(job_id).status == "failed":
            raise SystemExit("the job has failed")
        time.sleep(_EVERY_S)
    return found


def _cpu_s(pid: int) -> float:
    """Of a process and all below it, with those that have ended and were waited for."""
    whole = psutil.Process(pid)
    total = 0.0
    for process in (whole, *whole.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended meanwhile
            total += sum(process.cpu_times()[:4])
    return total


def _share(cpu_s: float, wall_s: float) -> float:
    return cpu_s / (wall_s * (os.cpu_count() or 1))


def _error(reference: str, heard: str) -> float:
    return float(jiwer.wer(normalise(reference), normalise(heard)))


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    head = (
        "| way | × real time | word error rate | CPU | memory (MB) | io worker (MB) | first segment (s) | chunks "
        "| overhead a chunk (ms) |"
    )
    lines = [head, "|" + "---|" * 9]
    for row in rows:
        io, chunks, overhead = (
            "" if value is None else f"{value:.0f}" for value in (row.io_mb, row.chunks, row.overhead_ms)
        )
        lines.append(
            f"| {row.way} | {row.times_real_time:.1f} | {row.word_error_rate:.3f} | {row.cpu_share:.0%} "
            f"| {row.memory_mb:.0f} | {io} | {row.first_s:.1f} | {chunks} | {overhead} |"
        )
    return "\n".join(lines)


def openings_table(openings: Sequence[Opening]) -> str:
    """The openings as Markdown."""
    lines = ["| hours | first segment (s) | cut as a whole (s) | io worker (MB) |", "|---|---|---|---|"]
    lines += [f"| {one.hours:.2f} | {one.first_s:.1f} | {one.cut_s:.1f} | {one.io_mb:.0f} |" for one in openings]
    return "\n".join(lines)


def broken(rows: Sequence[Row], openings: Sequence[Opening]) -> Iterator[str]:
    """What does not hold of what must."""
    ours = next(row for row in rows if row.way == SERVICE)
    for row in rows:
        if row.word_error_rate <= ours.word_error_rate + SAME_CLASS and row.times_real_time > ours.times_real_time:
            yield f"{row.way} is as good and faster: {row.times_real_time:.1f} × real time"
    for one in openings:
        if one.io_mb > IO_LIMIT_MB:
            yield f"the io worker held {one.io_mb:.0f} MB"
    if openings and openings[-1].first_s > FIRST_LIMIT * openings[0].first_s:
        yield f"the first segment of the long recording took {openings[-1].first_s:.1f} s"


def run(data: Path, device: str, minutes: float, long_hours: float) -> tuple[list[Row], list[Opening]]:
    """Both tables; the service and the others never run at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        samples, reference = joined(data, "en", minutes * 60)
        length_s = samples.size / RATE_HZ
        write_flac(samples, file := Path(folder) / "recording.flac")
        seen = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
        with loaded_service(["user"], SCRIBELANE_CPU_WORKERS="0", **seen) as service:  # as many as a user has
            rows = [through_the_service(service, file, reference, length_s)]
            openings = []
            for hours in (SHORT_S / 3600, long_hours) if long_hours else ():
                parts, _ = joined(data, "en", hours * 3600)
                write_flac(parts, long := Path(folder) / f"{hours}.flac")
                openings.append(opened(service, long, hours))
        rows += [alone(way, file, reference, length_s, device) for way in WAYS]
    return rows, openings


def main() -> int:
    """Run, print, store, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SCRIBELANE_BENCH_DATA"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--long-hours", type=float, default=0.0)
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("name the folder of the utterances with --data or SCRIBELANE_BENCH_DATA")
    if chosen.device != "cpu" and not ctranslate2.get_cuda_device_count():
        parser.error("there is no GPU to be seen")
    rows, openings = run(chosen.data, chosen.device, chosen.minutes, chosen.long_hours)
    print(table(rows), *([openings_table(openings)] if openings else []), sep="\n\n")
    RESULTS.parent.mkdir(exist_ok=True)
    stored = {"rows": [asdict(row) for row in rows], "openings": [asdict(one) for one in openings]}
    RESULTS.write_text(json.dumps(stored, indent=2) + "\n")
    wrong = list(broken(rows, openings))
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
