"""Whisper on faster-whisper: clips in, timed segments out, without loops and with nothing left out unsaid.

The caller hands over levelled audio and clips of whole speech regions (`core.plan` in this service). What
faster-whisper 1.2.1's batched mode really does decides the shape of this file:

- asked for timestamps, Whisper hears less: it takes a pause for the end, and a segment that it does not close is lost.
  So it is asked for words alone, which are then aligned with the sound (a tenth more time), and `sentences` makes the
  segments. Only a translation has timestamps, for its words follow another order than the sound;
- it decodes each clip once, at temperature 0 only, and looks at no threshold, so a loop stays. `judging` looks at each
  clip, and one that loops, or has speech of which no word came, is decoded anew in halves, and at last by the
  sequential mode, which raises the temperature until it is content. `patience` says for how long. What is still in
  doubt then says so.

Segments come out batch by batch, so memory is bounded and a caller can report progress.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import devices
from models.batching import BatchSize, fitting
from models.devices import Memory
from models.engine import SAMPLE_RATE_HZ, Clip, Segment, TranscribeOptions, Transcription, Word
from models.errors import OutOfDeviceMemory, device_errors
from models.judging import as_it_is, cut_in_two, failed, in_order, over_speech, unheard
from models.language import detect
from models.patience import Patience
from models.prompting import fitted
from models.sentences import sentences

MAX_CLIP_S = 30.0
"""Whisper's window."""

BATCH = 4
"""Clips decoded at once on a CPU, and at first on a GPU, where more are tried while they pay."""

MOST_CUDA = 64
CLIP_BYTES = 256 * 1024**2
"""What a clip in a batch takes of a GPU. For large-v2 faster-whisper's README has 4,525 MB without batches and 6,090 MB
with batches of 8, in float16 (2,926 and 4,500 MB in int8): 225 MB a clip. Smaller models take less."""

TOKENS_PER_S, MOST_TOKENS = 15.0, 200
"""Three times what the quickest of the twenty FLEURS utterances has in a second (4.6), and what beside a prompt has
room in all."""

RETRY_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Those of the original Whisper decoder, the next one where the one before has failed."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same for all clips of one call."""

    audio: NDArray[np.float32]
    language: str
    options: TranscribeOptions
    patience: Patience = field(default_factory=Patience)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that both modes of faster-whisper understand."""
        return {
            "language": self.language,
            "task": self.options.task,
            "word_timestamps": True,
            "initial_prompt": self.options.prompt,
            "hotwords": self.options.hotwords,
            "condition_on_previous_text": False,
        }


class WhisperEngine:
    """A `Transcriber` that holds one Whisper model in CTranslate2's format."""

    def __init__(
        self, folder: Path, *, device: str, threads: int, compute_type: str = "", batch: BatchSize | None = None
    ) -> None:
        """Load from `folder` alone, never from the network. `device` is `cpu` or `cuda:N`; `threads` are the CPU's.

        Without a `compute_type` it is the device's best, without a `batch` it is found while working. Raises
        `ComputeTypeUnsupported`, `OutOfDeviceMemory`, `DeviceFailed`.
        """
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        kind, _, index = device.partition(":")
        chosen = devices.compute_type(device, compute_type)
        with device_errors():
            self._model: Any = WhisperModel(
                str(folder),
                device=kind,
                device_index=int(index or 0),
                compute_type=chosen,
                cpu_threads=threads,
                local_files_only=True,
            )
        self._pipeline: Any = BatchedInferencePipeline(self._model)
        # Asked now that the model has taken its part of the memory.
        self._batch = batch or BatchSize(*batch_limits(devices.memory(device)))

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> Transcription:
        """Transcribe clips that are in order, apart and at most 30 s long; otherwise raises `ValueError`.

        Raises `OutOfDeviceMemory` if even one clip at once is too much, or `DeviceFailed`, here or while the segments
        are iterated.
        """
        _check(clips)
        language, probability = self._language(audio, clips, options)
        told = fitted(options, self._model.hf_tokenizer)
        segments = self._segments(_Job(audio, language or "en", told), clips)
        return Transcription(language, probability, segments)

    def close(self) -> None:
        """Free the model's memory; on CUDA some stays with the process until it ends."""
        self._model.model.unload_model()

    def _language(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> tuple[str | None, float | None]:
        if not self._model.model.is_multilingual:
            return "en", 1.0
        if options.language or not clips:
            return options.language, 1.0 if options.language else None
        with device_errors():
            detected = detect(clips, lambda clip: self._languages(_cut(audio, clip)), options.likely_language)
        return detected.language, detected.probability

    def _languages(self, audio: NDArray[np.float32]) -> dict[str, float]:
        """How probable each language is for one window."""
        *_, found = self._model.detect_language(audio)
        return {str(language): float(probability) for language, probability in found}

    def _segments(self, job: _Job, clips: Sequence[Clip]) -> Iterator[Segment]:
        while clips:
            batch = clips[: self._batch.n]
            began = time.monotonic()
            try:
                with device_errors():
                    decoded = self._decode(job, batch)
            except OutOfDeviceMemory as error:
                self._batch.halve(len(batch), error)
                continue
            took_s = time.monotonic() - began
            self._batch.ran(len(batch), took_s)
            job.patience.allow(took_s)
            clips = clips[len(batch) :]
            for clip, segments in zip(batch, decoded, strict=True):
                with device_errors(), job.patience.taxed():
                    judged = self._judge(job, clip, segments)
                yield from in_order([sentence for segment in judged for sentence in sentences(segment)], clip)

    def _decode(self, job: _Job, clips: Sequence[Clip]) -> list[list[Segment]]:
        """The segments of each clip, by the batched mode."""
        spans = [{"start": clip.start_s, "end": clip.end_s} for clip in clips]
        wanted = {**job.arguments(), "without_timestamps": job.options.task == "transcribe"}
        found, _ = self._pipeline.transcribe(
            job.audio, clip_timestamps=spans, vad_filter=False, batch_size=len(spans), **wanted
        )
        seeks = [_seek(clip) for clip in clips]
        decoded: list[list[Segment]] = [[] for _ in clips]
        for segment in found:
            decoded[seeks.index(segment.seek)].append(_segment(segment, 0.0))
        return decoded

    def _judge(self, job: _Job, clip: Clip, segments: list[Segment]) -> list[Segment]:
        """The segments as they are if they hold, or else those of its halves; what is left of doubt is marked."""
        segments = over_speech(segments, clip)
        if not failed(segments) and not unheard(segments, clip):
            return segments
        if job.patience.is_over:
            return as_it_is(segments, clip)
        halves = cut_in_two(clip)
        if halves:  # one at a time: a batch of two may be more than there is memory for
            return [segment for half in halves for segment in self._judge(job, half, *self._decode(job, [half]))]
        return as_it_is(self._again(job, clip), clip)

    def _again(self, job: _Job, clip: Clip) -> list[Segment]:
        """The clip alone, by the sequential mode with rising temperatures."""
        wanted = {**job.arguments(), "max_new_tokens": _most_tokens(clip)}
        found, _ = self._model.transcribe(
            _cut(job.audio, clip), temperature=RETRY_TEMPERATURES, beam_size=5, vad_filter=False, **wanted
        )
        return [_segment(segment, clip.start_s) for segment in found]


def batch_limits(memory: Memory | None) -> tuple[int, int]:
    """How many clips at once to begin with and to try at most, on a device with this memory; None is a CPU."""
    if memory is None:
        return BATCH, BATCH
    most = fitting(memory.free_bytes, CLIP_BYTES, MOST_CUDA)
    return min(BATCH, most), most


def _check(clips: Sequence[Clip]) -> None:
    previous_s = 0.0
    for clip in clips:
        if not previous_s <= clip.start_s < clip.end_s or clip.end_s - clip.start_s > MAX_CLIP_S + 0.01:
            raise ValueError(f"clips must be ordered, apart and at most {MAX_CLIP_S:g} s long, not {clip}")
        previous_s = clip.end_s


def _most_tokens(clip: Clip) -> int:
    """More than anybody says in the clip: what goes on for longer is a loop, and each temperature would wait for it."""
    return min(MOST_TOKENS, round(20 + TOKENS_PER_S * (clip.end_s - clip.start_s)))


def _cut(audio: NDArray[np.float32], clip: Clip) -> NDArray[np.float32]:
    return audio[int(clip.start_s * SAMPLE_RATE_HZ) : int(clip.end_s * SAMPLE_RATE_HZ)]


def _seek(clip: Clip) -> int:
    """The frame number that faster-whisper gives the segments of this clip: how a segment finds its clip again."""
    return int(int(clip.start_s * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ * 100)


def _segment(found: Any, offset_s: float) -> Segment:
    words = tuple(
        Word(offset_s + float(word.start), offset_s + float(word.end), word.word, float(word.probability))
        for word in found.words or ()
    )
    return Segment(
        start_s=offset_s + float(found.start),
        end_s=offset_s + float(found.end),
        text=found.text.strip(),
        avg_logprob=float(found.avg_logprob),
        compression_ratio=float(found.compression_ratio),
        no_speech_prob=float(found.no_speech_prob),
        temperature=float(found.temperature or 0.0),
        words=words,
    )
