"""A worker whose process is replaced after every second chunk: does one stand still, or is one held against a chunk?

Libraries with threads of their own (CTranslate2, onnxruntime, torch) have been seen to hang while a process ends. So
these processes end in order, as a process does that is told to stop, with every library that they loaded, and their
parent waits for that end before it starts the next. A recycle lasts from the log's last chunk of a process to the word
that its successor is ready; loading its models comes on top.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.engine import Row

from benchmarks.faults import DEFAULTS
from benchmarks.loaded_service import SAMPLE, beginning_of_the_sample
from core.lanes import INFERENCE_QUEUES
from core.store.session import Database
from service import processes
from tests.faults.deployment import INFERENCE, Deployment, deployment

CHUNKS_A_PROCESS = 2
STILL_S = 120.0
"""Without a chunk done for so long, a process stands still."""
_OPEN_PAIRS = 3
_POLL_S = 0.2

_COUNTS = """
SELECT count(*) FILTER (WHERE status = 'done' AND stage IN ('transcribe', 'embed')) AS done,
       count(*) FILTER (WHERE failures > 0 OR attempt > 1 OR error_code IS NOT NULL) AS charged,
       count(*) FILTER (WHERE status NOT IN ('done', 'failed', 'cancelled')) AS open
FROM chunks
"""


@dataclass(frozen=True, slots=True)
class Recycles:
    """What came of it. `charged`: chunks that were begun twice or failed; `left_over`: processes that did not end."""

    recycles: int
    chunks: int
    median_s: float
    worst_s: float
    stuck: int
    charged: int
    left_over: int

    @property
    def held(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.stuck or self.charged or self.left_over)


def recycle(n: int, settings: Mapping[str, str]) -> Recycles:
    """Have the process of an inference worker replaced `n` times while it is busy."""
    with tempfile.TemporaryDirectory() as folder, deployment(Path(folder), {**DEFAULTS, **settings}) as whole:
        whole.stop(INFERENCE)
        whole.supervisor.log_of(INFERENCE).unlink()
        command = processes.inference_worker("cpu", INFERENCE_QUEUES)
        limit = ["--max-tasks-per-child", str(CHUNKS_A_PROCESS)]
        whole.start(INFERENCE, replace(command, argv=[*command.argv, *limit]))
        whole.await_workers(INFERENCE)
        seen: set[int] = set()
        with whole.database() as database:
            stuck = 0 if _work(whole, database, n * CHUNKS_A_PROCESS + 1, seen) else 1
            counts = _counts(database)
        times_s = list(_times_s(whole.supervisor.log_of(INFERENCE)))
        left_over = [pid for pid in seen if psutil.pid_exists(pid)]
    return Recycles(
        recycles=len(times_s),
        chunks=counts.done,
        median_s=statistics.median(times_s or [0.0]),
        worst_s=max(times_s, default=0.0),
        stuck=stuck,
        charged=counts.charged,
        left_over=max(len(left_over) - 1, 0),  # the one at work
    )


def _work(whole: Deployment, database: Database, chunks: int, seen: set[int]) -> bool:
    """Keep a recording and a PDF of one chunk each waiting, until so many are done. Whether it went on all the time."""
    submitted, done, went_on = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder, whole.client() as client:
        short = beginning_of_the_sample(Path(folder) / "short.wav", 10)
        while (counts := _counts(database)).open or submitted < chunks:
            if counts.done > done:
                done, went_on = counts.done, time.monotonic()
            if time.monotonic() - went_on > STILL_S:
                return False
            while submitted < chunks and submitted - counts.done < _OPEN_PAIRS * 2:
                client.transcribe(short, {"index": "false"}, force=True)
                client.embed(SAMPLE.with_name("tides.pdf"), force=True)
                submitted += 2
            seen.update(whole.children(INFERENCE))
            time.sleep(_POLL_S)
    return True


def _counts(database: Database) -> Row[Any]:
    with database.transaction() as connection:
        return connection.execute(sa.text(_COUNTS)).one()


def _times_s(log: Path) -> Iterator[float]:
    """From the last chunk of each process to the beginning of the next process, by the log of their worker."""
    last_chunk: datetime | None = None
    for line in log.read_text(errors="replace").splitlines():
        if "] worker ready " in line and last_chunk is not None:
            yield (_time(line) - last_chunk).total_seconds()
        elif "] done " in line:
            last_chunk = _time(line)


def _time(line: str) -> datetime:
    return datetime.fromisoformat(line.split(" ", 1)[0])
