"""faster-whisper alone, in a process of its own: what `throughput` puts beside the service.

    python -m benchmarks.in_process WAY FILE DEVICE THREADS

The model is loaded before the clock starts. What is timed is what a script would do with the file, decoding included.
One JSON object on standard output: seconds to the first segment and to the last, CPU seconds, and the text.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any, cast

from faster_whisper import BatchedInferencePipeline, WhisperModel

from models import weights
from models.registry import ModelKind, default_whisper, find

CACHE = Path(gettempdir()) / "scribelane-weights"


def _sequential(model: WhisperModel, file: str) -> Iterable[Any]:
    segments, _ = model.transcribe(file, language="en")
    return cast("Iterable[Any]", segments)


def _sequential_vad(model: WhisperModel, file: str) -> Iterable[Any]:
    segments, _ = model.transcribe(file, language="en", vad_filter=True)
    return cast("Iterable[Any]", segments)


def _batched(model: WhisperModel, file: str) -> Iterable[Any]:
    segments, _ = BatchedInferencePipeline(model).transcribe(file, language="en")
    return cast("Iterable[Any]", segments)


WAYS: Mapping[str, Callable[[WhisperModel, str], Iterable[Any]]] = {
    "sequential": _sequential,
    "sequential, VAD": _sequential_vad,
    "batched": _batched,
}


def main(way: str, file: str, device: str, threads: int) -> None:
    """Transcribe the file one way."""
    name = default_whisper(device)
    folder = weights.locate(find(name, ModelKind.WHISPER), models_dir=None, cache_dir=CACHE, download=True)
    compute_type = "int8" if device == "cpu" else "float16"
    model = WhisperModel(str(folder), device=device, compute_type=compute_type, cpu_threads=threads)
    began, cpu_s = time.perf_counter(), time.process_time()
    first_s, texts = 0.0, []
    for segment in WAYS[way](model, file):
        first_s = first_s or time.perf_counter() - began
        texts.append(segment.text.strip())
    took = {"first_s": first_s, "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
    print(json.dumps({**took, "text": " ".join(texts)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
