"""How much speech does it take until the language that is heard is right? What `models.language` was chosen by.

    python benchmarks/languages.py --data FOLDER      # or SCRIBELANE_BENCH_DATA

FOLDER holds FLEURS utterances as `fleurs-LANGUAGE-NNN.ogg`. The speech of each is levelled and cut into pieces of one
length, at most `PIECES` of an utterance, and Whisper base names the language of each piece. The table goes to
standard output: how many were right, how sure the surest wrong answer was, and the least sure right one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import vad, weights
from models.engine import SAMPLE_RATE_HZ
from models.registry import ModelKind, find
from workers.inputs.audio import decode, level

MODEL = "base"
LENGTHS_S = (1, 2, 3, 5, 8)
PIECES = 2


@dataclass(frozen=True, slots=True)
class Utterance:
    """The speech alone, shape (n_samples,), 16 kHz, levelled."""

    language: str
    samples: NDArray[np.float32]

    def pieces(self, length_s: int) -> Iterator[NDArray[np.float32]]:
        n_samples = length_s * SAMPLE_RATE_HZ
        for index in range(min(PIECES, self.samples.size // n_samples)):
            yield self.samples[index * n_samples : (index + 1) * n_samples]


def utterances(folder: Path) -> list[Utterance]:
    found: list[Utterance] = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(folder.glob("fleurs-*-*.ogg")):
            audio = decode(path, Path(scratch) / "part.raw", max_s=600.0, on_progress=lambda _: None)
            regions = vad.find_speech(audio.samples(0.0, audio.duration_s))
            speech = [level(audio.samples(region.start_s, region.end_s)) for region in regions]
            found.append(Utterance(path.stem.split("-")[1], np.concatenate(speech)))
    return found


def row(model: Any, spoken: Sequence[Utterance], length_s: int) -> str:
    """One length as a line of the table."""
    right: list[float] = []
    wrong: list[float] = []
    for utterance in spoken:
        for piece in utterance.pieces(length_s):
            language, probability, _ = model.detect_language(piece)
            (right if language == utterance.language else wrong).append(probability)
    surest, least_sure = (f"{max(wrong):.2f}" if wrong else "-"), (f"{min(right):.2f}" if right else "-")
    return f"| {length_s} s | {len(right)} of {len(right) + len(wrong)} | {surest} | {least_sure} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="How much speech it takes to hear its language")
    parser.add_argument("--data", type=Path, default=os.environ.get("SCRIBELANE_BENCH_DATA"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "scribelane-weights")
    chosen = parser.parse_args()
    if chosen.data is None or not (spoken := utterances(chosen.data)):
        parser.error("name a folder with utterances with --data or SCRIBELANE_BENCH_DATA")
    from faster_whisper import WhisperModel

    folder = weights.locate(find(MODEL, ModelKind.WHISPER), models_dir=None, cache_dir=chosen.cache, download=False)
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True)
    print("| speech | heard right | surest wrong answer | least sure right one |\n|---|---|---|---|")
    for length_s in LENGTHS_S:
        print(row(model, spoken, length_s), flush=True)


if __name__ == "__main__":
    main()
