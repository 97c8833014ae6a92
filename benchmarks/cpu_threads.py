"""How are a CPU's cores used best: by few processes of many threads, or by many of few? And how large is a batch best?

    python -m benchmarks.cpu_threads [--rounds 3]

Each way is as many processes as it says, each with a model of its own, which share the chunks of the sample recording
as workers share a queue. The clock runs from the moment at which all have loaded until the last chunk is done. The ways
take turns, so that what else the machine does meets all of them; the best round of each counts, and the middle one is
shown beside it. `service.cores` divides a CPU by it; `models.whisper.BATCH` is one of the batches compared here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing as mp
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.loaded_service import SAMPLE
from benchmarks.memory import anonymous_kib
from core.plan import pack_clips, plan_chunks
from models import vad, weights
from models.batching import BatchSize
from models.engine import Clip, TranscribeOptions
from models.registry import ModelKind, find
from models.whisper import BATCH, WhisperEngine
from workers.inputs.audio import FULL_SCALE, decode, render_chunk, speech_regions
from workers.stages.transcribe import clips_of

MODEL = "base"
CHUNK_S = 30.0
COPIES = 2
"""Of the recording, so that the last chunk, which one process does alone, does not decide."""
RESULTS = Path(__file__).parent / "results" / "cpu_threads.json"


@dataclass(frozen=True, slots=True)
class Way:
    """So many processes of so many threads each, which decode so many clips at once in numbers of one kind."""

    processes: int
    threads: int
    batch: int = BATCH
    compute_type: str = "int8"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What an inference worker takes from the media store."""

    samples: NDArray[np.float32]
    clips: Sequence[Clip]

    @property
    def speech_s(self) -> float:
        """Of all its clips."""
        return sum(clip.end_s - clip.start_s for clip in self.clips)


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a way. A chunk's median time is what its job waits for; memory is each process's own."""

    way: Way
    best: float
    """× real time."""
    middle: float
    chunk_s: float
    process_mib: float


@dataclass(frozen=True, slots=True)
class _Done:
    at: float
    took_s: Sequence[float]
    kib: int


def ways() -> list[Way]:
    """One process of all cores, one a core, what lies between, and other batches and numbers on one core."""
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in range(1, cores + 1) if cores % count == 0]
    divided = [Way(count, cores // count) for count in counts]
    batched = [Way(1, 1, batch) for batch in (1, 2, 4, 8)]
    return [*divided, *batched, Way(1, 1, compute_type="float32")]


def chunks(scratch: Path) -> list[Chunk]:
    """The sample recording, cut and levelled as the prepare stage does it."""
    audio = decode(SAMPLE, scratch / "samples", max_s=600, on_progress=lambda _: None)
    planned = plan_chunks(pack_clips(speech_regions(audio, vad.find_speech)), CHUNK_S)
    return [
        Chunk(
            np.asarray(render_chunk(audio, one) / FULL_SCALE, dtype=np.float32),
            clips_of(one),
        )
        for one in planned
    ]


def work(way: Way, folder: Path, queue: Any, begin: Any, answers: Any) -> None:
    """One process: load, wait for the others, take chunks until none is left."""
    engine = WhisperEngine(
        folder, device="cpu", threads=way.threads, compute_type=way.compute_type, batch=BatchSize(way.batch)
    )
    begin.wait()
    took_s = []
    while (chunk := queue.get()) is not None:
        began = time.perf_counter()
        list(engine.transcribe(chunk.samples, chunk.clips, TranscribeOptions(language="en")).segments)
        took_s.append(time.perf_counter() - began)
    answers.put(_Done(time.monotonic(), took_s, anonymous_kib(os.getpid())))
    engine.close()


def run(way: Way, folder: Path, cut: Sequence[Chunk]) -> tuple[float, Sequence[_Done]]:
    """Seconds from the common beginning to the last chunk, and what each process says."""
    context = mp.get_context("spawn")
    queue, answers, begin = context.Queue(), context.Queue(), context.Barrier(way.processes + 1)
    for chunk in itertools.chain(*[cut] * COPIES, [None] * way.processes):
        queue.put(chunk)
    os.environ["OMP_NUM_THREADS"] = str(way.threads)  # as `service.processes` sets it
    running = [context.Process(target=work, args=(way, folder, queue, begin, answers)) for _ in range(way.processes)]
    for process in running:
        process.start()
    begin.wait()
    began = time.monotonic()
    done = [answers.get() for _ in running]
    for process in running:
        process.join()
    return max(one.at for one in done) - began, done


def measure(rounds: int, cache: Path) -> list[Row]:
    """Every way, in turns."""
    folder = weights.locate(find(MODEL, ModelKind.WHISPER), models_dir=None, cache_dir=cache, download=False)
    with tempfile.TemporaryDirectory() as scratch:
        cut = chunks(Path(scratch))
    chosen = list(dict.fromkeys(ways()))
    runs = [[run(way, folder, cut) for way in chosen] for _ in range(rounds)]
    speech_s = COPIES * sum(chunk.speech_s for chunk in cut)
    return [_row(way, speech_s, [one[number] for one in runs]) for number, way in enumerate(chosen)]


def _row(way: Way, speech_s: float, runs: Sequence[tuple[float, Sequence[_Done]]]) -> Row:
    speeds = [speech_s / wall_s for wall_s, _ in runs]
    done = [one for _, each in runs for one in each]
    chunk_s = statistics.median(took_s for one in done for took_s in one.took_s)
    mib = max(one.kib for one in done) / 1024
    return Row(way, max(speeds), statistics.median(speeds), chunk_s, mib)


def table(rows: Sequence[Row]) -> str:
    lines = ["| processes × threads | batch | numbers | × real time | middle round | median chunk | memory of one |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row.way.processes} × {row.way.threads} | {row.way.batch} | {row.way.compute_type} | {row.best:.2f} "
        f"| {row.middle:.2f} | {row.chunk_s:.1f} s | {row.process_mib:.0f} MiB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Processes, threads and batches on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "scribelane-weights")
    chosen = parser.parse_args()
    rows = measure(chosen.rounds, chosen.cache)
    print(table(rows))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
