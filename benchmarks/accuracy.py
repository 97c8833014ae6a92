"""How many words does the sound path get wrong? Beside faster-whisper's own modes, on recordings that are hard.

    python -m benchmarks.accuracy --data FOLDER      # or SCRIBELANE_BENCH_DATA

`benchmarks/recordings.py` makes the recordings of the utterances in FOLDER and says what each is. Each is given to

- `scribelane`: the functions that the stages use, in their order (`speech_regions`, `pack_clips`, `plan_chunks`,
  `render_chunk`, `hear`);
- faster-whisper `sequential`, `sequential, VAD` and `batched`, everything but the language left at its default;
- and the utterances one by one to `sequential`: the row `alone`, which no join can be expected to beat.

All run the same weights with the same number of threads in this process, one after the other; `--only` and `--ways`
choose. The table goes to standard output and, with the transcripts, to `benchmarks/results/accuracy.json`. The exit
status is 1 if a limit is broken (`benchmarks/accuracy_limits.py`).

Error rates are jiwer's, after `normalise`: Unicode NFKC, lower case, everything but letters, digits and blanks made a
blank. Numbers are not spelled out, so `25` for `twenty-five` counts as an error, for all ways.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from benchmarks.accuracy_limits import ALONE, BATCHED, OURS, SEQUENTIAL, SEQUENTIAL_VAD, Row, broken, count_loops
from benchmarks.recordings import JOINS, Recording, Samples, Utterance, clean, join, provokers, utterances
from core.plan import pack_clips, plan_chunks
from models import weights
from models.engine import SAMPLE_RATE_HZ, TranscribeOptions
from models.registry import ModelKind, find
from models.whisper import WhisperEngine
from workers.inputs.audio import render_chunk, speech_regions
from workers.stages.transcribe import hear

MODEL = "base"
THREADS = 2
CHUNK_S = 120.0
"""Target of `plan_chunks` here: what a 2-core machine works off in about 10 s."""

OF_GERMAN = ("raw", "levelled", "music between")
"""German has the longer utterances: all its joins would double the time of a run."""

RESULTS = Path(__file__).parent / "results" / "accuracy.json"

Way = Callable[[Samples, str], list[str]]
"""From samples and a language to the texts of the segments."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """A recording as the stages read it: all of it is there."""

    array: Samples

    def await_until(self, time_s: float) -> float:
        return self.array.size / SAMPLE_RATE_HZ

    def samples(self, start_s: float, end_s: float) -> Samples:
        return self.array[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)].copy()


def normalise(text: str) -> str:
    """See the module's docstring."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return " ".join(re.sub(r"[\W_]", " ", plain).split())


def ours(engine: WhisperEngine) -> Way:
    def way(samples: Samples, language: str) -> list[str]:
        sound, options = InMemory(samples), TranscribeOptions(language=language)
        chunks = plan_chunks(pack_clips(speech_regions(sound)), CHUNK_S)
        heard = (hear(engine, render_chunk(sound, chunk), chunk, options) for chunk in chunks)
        return [segment.text for answer in heard for segment in answer.segments]

    return way


def plain(model: Any, **asked: Any) -> Way:
    """A mode of faster-whisper."""

    def way(samples: Samples, language: str) -> list[str]:
        segments, _ = model.transcribe(np.ascontiguousarray(samples), language=language, **asked)
        return [segment.text for segment in segments]

    return way


def each_alone(way: Way, spoken: Sequence[Utterance]) -> Way:
    """The same way, but through one utterance after the other instead of their join."""
    return lambda _, language: [text for one in spoken for text in way(one.samples, language)]


def ways(folder: Path) -> Mapping[str, Way]:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=THREADS, local_files_only=True)
    return {
        OURS: ours(WhisperEngine(folder, device="cpu", threads=THREADS)),
        SEQUENTIAL: plain(model),
        SEQUENTIAL_VAD: plain(model, vad_filter=True),
        BATCHED: plain(BatchedInferencePipeline(model)),
    }


def measure(name: str, recording: Recording, way: Way) -> Row:
    began, cpu_began = time.perf_counter(), time.process_time()
    texts = way(recording.samples, recording.language)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    heard, reference = normalise(" ".join(texts)), normalise(recording.reference or "")
    return Row(
        case=recording.name,
        language=recording.language,
        way=name,
        audio_s=round(recording.duration_s, 1),
        wer=float(jiwer.wer(reference, heard)) if reference else None,
        cer=float(jiwer.cer(reference, heard)) if reference else None,
        times_real_time=recording.duration_s / took_s,
        cpu_s=cpu_s,
        loops=count_loops(texts),
        segments=len(texts),
        text=" ".join(text.strip() for text in texts),
    )


def rows(data: Path, cache: Path, only: Sequence[str], chosen: Sequence[str]) -> Iterator[Row]:
    """Every chosen way through every chosen recording; each utterance alone first, where a join asks for it."""
    folder = weights.locate(find(MODEL, ModelKind.WHISPER), models_dir=None, cache_dir=cache, download=False)
    known = ways(folder)
    alone = known[SEQUENTIAL]
    for language, joins in (("en", JOINS), ("de", OF_GERMAN)):
        named = [name for name in joins if not only or name in only]
        spoken = utterances(data, language) if named else []
        if named and (not only or ALONE in only):
            whole = join("raw", language, spoken)
            one_by_one = Recording(ALONE, language, whole.samples, whole.reference)
            yield measure(ALONE, one_by_one, each_alone(alone, spoken))
        for name in named:
            yield from _through(known, chosen, join(name, language, spoken))
    for recording in (*clean(data), *provokers()):
        if not only or recording.name in only:
            yield from _through(known, chosen, recording)


def _through(known: Mapping[str, Way], chosen: Sequence[str], recording: Recording) -> Iterator[Row]:
    for name, way in known.items():
        if not chosen or name in chosen:
            yield measure(name, recording, way)


def line(row: Row) -> str:
    wer, cer = ("-" if rate is None else f"{rate:.3f}" for rate in (row.wer, row.cer))
    return (
        f"| {row.language} | {row.case} | {row.audio_s:.0f} | {row.way} | {wer} | {cer} | {row.loops} "
        f"| {row.segments} | {row.times_real_time:.1f} | {row.cpu_s:.1f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Word and character error rates of the sound path")
    parser.add_argument("--data", type=Path, default=os.environ.get("SCRIBELANE_BENCH_DATA"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "scribelane-weights")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="such as: alone raw levelled")
    parser.add_argument("--ways", nargs="+", default=[], choices=[OURS, SEQUENTIAL, SEQUENTIAL_VAD, BATCHED])
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("name the folder of the utterances with --data or SCRIBELANE_BENCH_DATA")
    print("| language | case | audio (s) | way | WER | CER | loops | segments | x real time | CPU (s) |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    measured: list[Row] = []
    for row in rows(Path(chosen.data), chosen.cache, chosen.only, chosen.ways):
        measured.append(row)
        print(line(row), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in measured], indent=2, ensure_ascii=False) + "\n")
    for limit in (failures := broken(measured)):
        print(limit, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
