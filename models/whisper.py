"""Whisper on faster-whisper: clips in, timed segments out, without loops and without losing the end of a clip.

The caller hands over levelled audio and clips of whole speech regions (`core.plan` in this service). What
faster-whisper 1.2.1's batched mode really does decides the shape of this file:

- it decodes each clip once, at temperature 0 only: no threshold is looked at, so a loop stays. Each clip is judged
  here, and a bad one is decoded again by the sequential mode, which raises the temperature until it is content;
- with timestamps, a clip whose last segment is not closed loses that segment, because the batched mode does not seek
  on as the sequential one does. What no segment of a clip covers is decoded again here;
- without timestamps a clip is one segment of up to 30 s, of no use for subtitles.

Segments come out batch by batch, so memory is bounded and a caller can report progress.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engine import SAMPLE_RATE_HZ, Clip, Segment, TranscribeOptions, Transcription, Word
from models.errors import BatchSize, OutOfDeviceMemory, device_errors
from models.repetition import loops, without_loops

MAX_CLIP_S = 30.0
"""Whisper's window."""

BATCH_CPU = 4
BATCH_CUDA = 16

MIN_AVG_LOGPROB = -1.0
"""Below this mean log probability a decoding has failed: the threshold of the original Whisper decoder."""

MAX_UNHEARD_S = 2.0
"""Longest part of a clip without a segment. Clips hold no pause longer than 1 s, so more than that was left out."""

RETRY_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

LANGUAGE_WINDOWS = 3
"""Windows of 30 s that are listened to until one of them is sure of its language."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same for all clips of one call."""

    audio: NDArray[np.float32]
    language: str
    options: TranscribeOptions

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that both modes of faster-whisper understand."""
        return {
            "language": self.language,
            "task": self.options.task,
            "word_timestamps": self.options.word_timestamps,
            "initial_prompt": self.options.prompt,
            "hotwords": self.options.hotwords,
            "without_timestamps": False,
            "condition_on_previous_text": False,
        }


class WhisperEngine:
    """A `Transcriber` that holds one Whisper model in CTranslate2's format."""

    def __init__(self, folder: Path, *, device: str, compute_type: str | None = None, threads: int) -> None:
        """Load from `folder` alone, never from the network. `device` is `cpu` or `cuda:N`; `threads` are the CPU's.

        Raises `OutOfDeviceMemory`, `DeviceFailed`.
        """
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        kind, _, index = device.partition(":")
        self._batch = BatchSize(BATCH_CPU if kind == "cpu" else BATCH_CUDA)
        with device_errors():
            self._model: Any = WhisperModel(
                str(folder),
                device=kind,
                device_index=int(index or 0),
                compute_type=compute_type or ("int8" if kind == "cpu" else "float16"),
                cpu_threads=threads,
                local_files_only=True,
            )
        self._pipeline: Any = BatchedInferencePipeline(self._model)

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[Clip], options: TranscribeOptions
    ) -> Transcription:
        """Transcribe clips that are in order, apart and at most 30 s long; otherwise raises `ValueError`.

        Raises `OutOfDeviceMemory` if even one clip at once is too much, or `DeviceFailed`, here or while the segments
        are iterated.
        """
        _check(clips)
        language, probability = self._language(audio, clips, options)
        segments = self._segments(_Job(audio, language or "en", options), clips)
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
        speech = np.concatenate([_cut(audio, clip) for clip in clips[:LANGUAGE_WINDOWS]])
        with device_errors():
            language, probability, _ = self._model.detect_language(speech, language_detection_segments=LANGUAGE_WINDOWS)
        return str(language), float(probability)

    def _segments(self, job: _Job, clips: Sequence[Clip]) -> Iterator[Segment]:
        heard_s = 0.0
        while clips:
            batch = clips[: self._batch.n]
            try:
                with device_errors():
                    decoded = self._decode(job, batch)
            except OutOfDeviceMemory as error:
                self._batch.halve(error)
                continue
            clips = clips[len(batch) :]
            for clip, segments in zip(batch, decoded, strict=True):
                with device_errors():
                    judged = self._judge(job, clip, segments)
                for segment in _in_order(judged, clip, heard_s):
                    heard_s = segment.start_s
                    yield segment

    def _decode(self, job: _Job, clips: Sequence[Clip]) -> list[list[Segment]]:
        """The segments of each clip, by the batched mode."""
        spans = [{"start": clip.start_s, "end": clip.end_s} for clip in clips]
        found, _ = self._pipeline.transcribe(
            job.audio, clip_timestamps=spans, vad_filter=False, batch_size=len(spans), **job.arguments()
        )
        seeks = [_seek(clip) for clip in clips]
        decoded: list[list[Segment]] = [[] for _ in clips]
        for segment in found:
            decoded[seeks.index(segment.seek)].append(_segment(segment, 0.0))
        return decoded

    def _judge(self, job: _Job, clip: Clip, segments: list[Segment]) -> list[Segment]:
        """The segments as they are if they hold, decoded again where they do not."""
        if _failed(segments):
            return self._again(job, clip)
        for position, gap in reversed(_unheard(segments, clip)):
            segments[position:position] = self._again(job, gap)
        return segments

    def _again(self, job: _Job, clip: Clip) -> list[Segment]:
        """The clip alone, by the sequential mode with rising temperatures; what still loops is cut."""
        found, _ = self._model.transcribe(
            _cut(job.audio, clip), temperature=RETRY_TEMPERATURES, beam_size=5, vad_filter=False, **job.arguments()
        )
        return _without_loops([_segment(segment, clip.start_s) for segment in found])


def _check(clips: Sequence[Clip]) -> None:
    previous_s = 0.0
    for clip in clips:
        if not previous_s <= clip.start_s < clip.end_s or clip.end_s - clip.start_s > MAX_CLIP_S + 0.01:
            raise ValueError(f"clips must be ordered, apart and at most {MAX_CLIP_S:g} s long, not {clip}")
        previous_s = clip.end_s


def _cut(audio: NDArray[np.float32], clip: Clip) -> NDArray[np.float32]:
    return audio[int(clip.start_s * SAMPLE_RATE_HZ) : int(clip.end_s * SAMPLE_RATE_HZ)]


def _seek(clip: Clip) -> int:
    """The frame number that faster-whisper gives the segments of this clip: how a segment finds its clip again."""
    return int(int(clip.start_s * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ * 100)


def _segment(found: Any, offset_s: float) -> Segment:
    words = tuple(
        Word(offset_s + float(word.start), offset_s + float(word.end), word.word.strip(), float(word.probability))
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


def _failed(segments: Sequence[Segment]) -> bool:
    text = " ".join(segment.text for segment in segments)
    return loops(text) or any(segment.avg_logprob < MIN_AVG_LOGPROB for segment in segments)


def _unheard(segments: Sequence[Segment], clip: Clip) -> list[tuple[int, Clip]]:
    """The parts of the clip that no segment covers and that are no pauses, each with the index where it belongs."""
    gaps: list[tuple[int, Clip]] = []
    heard_s = clip.start_s
    spans = [*((segment.start_s, segment.end_s) for segment in segments), (clip.end_s, clip.end_s)]
    for position, (start_s, end_s) in enumerate(spans):
        if start_s - heard_s > MAX_UNHEARD_S:
            gaps.append((position, Clip(heard_s, start_s)))
        heard_s = max(heard_s, end_s)
    return gaps


def _without_loops(segments: list[Segment]) -> list[Segment]:
    """The last resort: of what even the highest temperature repeats, each phrase and each segment once."""
    if not loops(" ".join(segment.text for segment in segments)):
        return segments
    kept: list[Segment] = []
    for segment in segments:
        text = without_loops(segment.text)
        if not kept or kept[-1].text != text:
            kept.append(segment if text == segment.text else replace(segment, text=text, words=()))
    return kept


def _in_order(segments: Sequence[Segment], clip: Clip, heard_s: float) -> Iterator[Segment]:
    """The segments that hold text, inside their clip, none beginning before the one before it."""
    for segment in segments:
        if segment.text:
            start_s = min(max(segment.start_s, clip.start_s, heard_s), clip.end_s)
            end_s = min(max(segment.end_s, start_s), clip.end_s)
            heard_s = start_s
            yield replace(segment, start_s=start_s, end_s=end_s)
