"""Turn one chunk's audio into segments on the media clock. Runs on the GPU lanes."""

from __future__ import annotations

import time

import numpy as np

from core import plan
from core.errors import LanguageUnsupported, TaskUnsupported
from core.options import TranscriptionOptions
from core.plan import AudioChunk
from core.store import blobs as blob_store
from core.store.chunks import Claim
from core.store.results import Transcribed
from core.store.speeds import Measured
from core.transcript import HeardLanguage, TranscriptSegment, TranscriptWord
from models.engine import Clip, Segment, Span, TranscribeOptions, Transcription
from models.registry import ModelKind, ModelSpec, find
from workers.lease import Lease
from workers.stages.context import Context

_INT16_FULL_SCALE = 32768.0


def transcribe(context: Context, claim: Claim, lease: Lease) -> Transcribed:
    """Decode the chunk's clips; every segment is a step of progress."""
    assert isinstance(claim.work, AudioChunk)
    blob = context.blobs.get(blob_store.chunk_key(claim.job_id, claim.ordinal, claim.work.attempt))
    audio = np.frombuffer(blob, dtype=np.int16).astype(np.float32) / _INT16_FULL_SCALE
    assert isinstance(claim.options, TranscriptionOptions)
    start_s = claim.work.start_s
    clips = [on_chunk_clock(clip, start_s) for clip in claim.work.clips]
    model = context.whisper_model(claim)
    _check(claim.options, find(model, ModelKind.WHISPER))
    with context.pool.use(model, ModelKind.WHISPER) as engine:
        lease.progress()
        began = time.monotonic()  # the model is loaded: what is measured is inference alone
        heard = engine.transcribe(audio, clips, _options(claim.options))
        segments = []
        for segment in heard.segments:
            lease.progress()
            segments.append(_on_media_clock(segment, start_s))
        infer_s = time.monotonic() - began
    speech_s = sum(clip.end_s - clip.start_s for clip in clips)
    return Transcribed(segments, _language(heard, speech_s), Measured(context.device, speech_s, infer_s))


def _language(heard: Transcription, speech_s: float) -> HeardLanguage | None:
    if heard.language is None or heard.language_probability is None:
        return None
    return HeardLanguage(heard.language, heard.language_probability, speech_s)


def _check(asked: TranscriptionOptions, spec: ModelSpec) -> None:
    """Raises for what the service's default model cannot; of a model that was named, the API has refused it."""
    if asked.task == "translate" and not spec.translates:
        raise TaskUnsupported()
    if asked.language is not None and asked.language not in spec.languages:
        raise LanguageUnsupported()


def _options(asked: TranscriptionOptions) -> TranscribeOptions:
    return TranscribeOptions(
        language=asked.language,
        task=asked.task,
        word_timestamps=asked.word_timestamps,
        prompt=asked.prompt,
        hotwords=asked.hotwords,
    )


def on_chunk_clock(clip: plan.Clip, start_s: float) -> Clip:
    """A clip as the engine takes it: in seconds from the beginning of its chunk."""
    speech = tuple(Span(region.start_s - start_s, region.end_s - start_s) for region in clip.regions)
    return Clip(clip.start_s - start_s, clip.end_s - start_s, speech)


def _on_media_clock(segment: Segment, start_s: float) -> TranscriptSegment:
    def moved(seconds: float) -> float:
        return round(start_s + seconds, 3)

    return TranscriptSegment(
        start_s=moved(segment.start_s),
        end_s=moved(segment.end_s),
        text=segment.text.strip(),
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        temperature=segment.temperature,
        words=tuple(
            TranscriptWord(moved(word.start_s), moved(word.end_s), word.text, round(word.probability, 4))
            for word in segment.words
        ),
    )
