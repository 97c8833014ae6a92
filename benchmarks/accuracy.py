"""How many words does the sound path get wrong, and how fast is it? Against faster-whisper's own defaults.

    python benchmarks/accuracy.py --data FOLDER      # or SCRIBELANE_BENCH_DATA

FOLDER holds FLEURS utterances as `fleurs-LANGUAGE-NNN.ogg` with the reference in `.txt` beside each. The utterances
of one language are joined with pauses of 0.5 s into one recording of many voices and loudnesses, which is given

- to the functions that the stages use, in their order: `speech_regions`, `pack_clips`, `plan_chunks`,
  `render_chunk`, `WhisperEngine`;
- to faster-whisper's `BatchedInferencePipeline` with its defaults.

Both run the same weights with the same number of threads in this process, one after the other. The table goes to
standard output and, with the transcripts, to `benchmarks/results/accuracy.json`. The exit status is 1 if a language
is worse than its limit.

Word error rate is jiwer's, after `normalise`: Unicode NFKC, lower case, everything but letters, digits and blanks
made a blank. Numbers are not spelled out, so `25` for `twenty-five` counts as an error, for both ways.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import jiwer
import numpy as np

from core.plan import AudioChunk, pack_clips, plan_chunks
from models import weights
from models.engine import SAMPLE_RATE_HZ, Segment, TranscribeOptions
from models.registry import ModelKind, find
from models.whisper import WhisperEngine
from workers.inputs.audio import DecodedAudio, decode, render_chunk, speech_regions
from workers.stages.transcribe import hear

MODEL = "base"
THREADS = 2
PAUSE_S = 0.5
CHUNK_S = 120.0
"""Target of `plan_chunks` here: what a 2-core machine works off in about 10 s."""

LIMITS = {"en": 0.12, "de": 0.17}
"""Highest word error rate that is accepted; each utterance decoded alone gives 0.094 and 0.167."""

RESULTS = Path(__file__).parent / "results" / "accuracy.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One way through one recording."""

    language: str
    way: str
    audio_s: float
    word_error_rate: float
    times_real_time: float
    segments: int
    text: str


def normalise(text: str) -> str:
    """See the module's docstring."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return " ".join(re.sub(r"[\W_]", " ", plain).split())


def joined(folder: Path, language: str, scratch: Path) -> tuple[DecodedAudio, str]:
    """All utterances of a language as one recording, and all its words."""
    parts: list[np.ndarray] = []
    references: list[str] = []
    for path in sorted(folder.glob(f"fleurs-{language}-*.ogg")):
        decode(path, scratch / "part.raw", max_s=600.0, on_progress=lambda _: None)
        parts += [np.fromfile(scratch / "part.raw", "<i2"), np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), "<i2")]
        references.append(path.with_suffix(".txt").read_text(encoding="utf-8"))
    if not parts:
        raise SystemExit(f"{folder} holds no fleurs-{language}-*.ogg")
    samples = np.concatenate(parts)
    target = scratch / f"{language}.raw"
    samples.tofile(target)
    return DecodedAudio(target, samples.size, samples.size / SAMPLE_RATE_HZ, damaged=False), " ".join(references)


def ours(engine: WhisperEngine, audio: DecodedAudio, language: str) -> list[str]:
    """The texts of the segments, by the way that the stages go."""
    regions = speech_regions(audio)
    chunks = plan_chunks(pack_clips(regions), CHUNK_S)
    return [segment.text for chunk in chunks for segment in _chunk(engine, audio, chunk, language)]


def _chunk(engine: WhisperEngine, audio: DecodedAudio, chunk: AudioChunk, language: str) -> list[Segment]:
    return list(hear(engine, render_chunk(audio, chunk), chunk, TranscribeOptions(language=language)).segments)


def defaults(folder: Path) -> Callable[[DecodedAudio, str], list[str]]:
    """faster-whisper's batched pipeline on the same weights, everything but the language left at its default."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    pipeline = BatchedInferencePipeline(
        WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=THREADS, local_files_only=True)
    )

    def transcribe(audio: DecodedAudio, language: str) -> list[str]:
        segments, _ = pipeline.transcribe(audio.samples(0.0, audio.duration_s), language=language)
        return [segment.text for segment in segments]

    return transcribe


def measure(way: str, audio: DecodedAudio, case: tuple[str, str], transcribe: Callable[[], list[str]]) -> Row:
    language, reference = case
    began = time.perf_counter()
    texts = transcribe()
    took_s = time.perf_counter() - began
    text = " ".join(part.strip() for part in texts)
    error = float(jiwer.wer(normalise(reference), normalise(text)))
    return Row(language, way, audio.duration_s, error, audio.duration_s / took_s, len(texts), text)


def run(data: Path, cache: Path) -> list[Row]:
    """Both ways through both languages."""
    folder = weights.locate(find(MODEL, ModelKind.WHISPER), models_dir=None, cache_dir=cache, download=False)
    engine = WhisperEngine(folder, device="cpu", threads=THREADS)
    plain = defaults(folder)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for language in LIMITS:
            audio, reference = joined(data, language, Path(scratch))
            case = (language, reference)
            rows.append(measure("scribelane", audio, case, partial(ours, engine, audio, language)))
            rows.append(measure("faster-whisper batched defaults", audio, case, partial(plain, audio, language)))
    return rows


def table(rows: Sequence[Row]) -> str:
    lines = ["| language | way | audio (s) | word error rate | x real time | segments |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.language} | {row.way} | {row.audio_s:.0f} | {row.word_error_rate:.3f} "
        f"| {row.times_real_time:.1f} | {row.segments} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Word error rate and speed of the sound path")
    parser.add_argument("--data", type=Path, default=os.environ.get("SCRIBELANE_BENCH_DATA"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "scribelane-weights")
    chosen = parser.parse_args()
    if chosen.data is None:
        parser.error("name the folder of the utterances with --data or SCRIBELANE_BENCH_DATA")
    rows = run(chosen.data, chosen.cache)
    print(table(rows))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n")
    worse = [row for row in rows if row.way == "scribelane" and row.word_error_rate > LIMITS[row.language]]
    for row in worse:
        print(f"{row.language}: {row.word_error_rate:.3f} is above {LIMITS[row.language]}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
