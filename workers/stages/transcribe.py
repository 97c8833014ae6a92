"""Turn one chunk's audio into segments on the media clock. Runs on the GPU lanes."""

from __future__ import annotations

import numpy as np

from core.errors import TaskUnsupported
from core.store import blobs as blob_store
from core.store.chunks import Claim
from core.store.results import Transcribed
from core.transcript import TranscriptSegment, TranscriptWord
from models.engine import Clip, Segment, TranscribeOptions
from models.registry import ModelKind, find
from workers.lease import Lease
from workers.stages.context import Context

_INT16_FULL_SCALE = 32768.0


def transcribe(context: Context, claim: Claim, lease: Lease) -> Transcribed:
    """Decode the chunk's clips; every segment is a step of progress."""
    blob = context.blobs.get(blob_store.chunk_key(claim.job_id, claim.ordinal))
    audio = np.frombuffer(blob, dtype=np.int16).astype(np.float32) / _INT16_FULL_SCALE
    start_s = float(claim.input["start_s"])
    clips = [Clip(begin - start_s, end - start_s) for begin, end in claim.input["clips"]]
    model = context.whisper_model(claim)
    if claim.options.get("task") == "translate" and not find(model, ModelKind.WHISPER).translates:
        raise TaskUnsupported()
    with context.pool.use(model, ModelKind.WHISPER) as engine:
        lease.progress()
        heard = engine.transcribe(audio, clips, _options(claim))
        segments = []
        for segment in heard.segments:
            lease.progress()
            segments.append(_on_media_clock(segment, start_s))
    return Transcribed(
        segments=segments,
        language=heard.language,
        language_probability=heard.language_probability,
        speech_s=sum(clip.end_s - clip.start_s for clip in clips),
    )


def _options(claim: Claim) -> TranscribeOptions:
    asked = claim.options
    return TranscribeOptions(
        language=asked.get("language"),
        task=asked.get("task") or "transcribe",
        word_timestamps=bool(asked.get("word_timestamps")),
        prompt=asked.get("prompt"),
        hotwords=asked.get("hotwords"),
    )


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
