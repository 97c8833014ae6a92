"""Turn one chunk's audio into segments on the media clock. Runs on the GPU lanes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.doubts import Doubted, warnings
from core.errors import LanguageUnsupported, TaskUnsupported
from core.options import TranscriptionOptions
from core.plan import AudioChunk, MediaClock
from core.store import blobs as blob_store
from core.store import passages
from core.store.chunks import Claim
from core.store.results import Transcribed
from core.store.speeds import Measured
from core.transcript import HeardLanguage, TranscriptSegment, TranscriptWord, in_order, spoken_language
from models.engine import Clip, Segment, Span, TranscribeOptions, Transcriber, Transcription, Word
from models.registry import ModelKind, ModelSpec, find
from workers.lease import Lease
from workers.stages.context import Context

_INT16_FULL_SCALE = 32768.0

PAUSE_S = 1.5
"""A segment does not go on over a pause in the media that is longer."""


def transcribe(context: Context, claim: Claim, lease: Lease) -> Transcribed:
    """Decode the chunk's clips; every segment is a step of progress."""
    assert isinstance(claim.work, AudioChunk)
    assert isinstance(claim.options, TranscriptionOptions)
    asked, chunk = claim.options, claim.work
    blob = context.blobs.get(blob_store.chunk_key(claim.job_id, claim.ordinal, chunk.attempt))
    model = context.whisper_model(claim)
    _check(asked, find(model, ModelKind.WHISPER))
    options = _options(asked, None if asked.language else _language_so_far(context, claim))
    with context.pool.use(model, ModelKind.WHISPER) as engine:
        lease.progress()
        began = time.monotonic()  # the model is loaded: what is measured is inference alone
        heard = hear(engine, np.frombuffer(blob, dtype=np.int16), chunk, options)
        segments, doubted = [], []
        for segment in heard.segments:
            lease.progress()
            if segment.doubt:
                doubted.append(Doubted(segment.start_s, segment.end_s, segment.doubt))
            if segment.text:
                segments.append(_stored(segment, words=asked.word_timestamps))
        infer_s = time.monotonic() - began
    return Transcribed(
        in_order(segments, chunk.start_s, chunk.end_s),
        _language(heard, chunk.audio_s),
        Measured(context.device, chunk.audio_s, infer_s),
        warnings(doubted),
    )


def hear(
    engine: Transcriber, samples: NDArray[np.int16], chunk: AudioChunk, options: TranscribeOptions
) -> Transcription:
    """What is said in the audio of a chunk, `samples` of shape (n,), in seconds of the media."""
    audio = samples.astype(np.float32) / _INT16_FULL_SCALE
    heard = engine.transcribe(audio, clips_of(chunk), options)
    clock = MediaClock(chunk)
    return replace(heard, segments=(part for segment in heard.segments for part in _on_media_clock(segment, clock)))


def clips_of(chunk: AudioChunk) -> list[Clip]:
    """The clips as an engine takes them: in seconds of the chunk's audio."""
    spans = [tuple(Span(placed.at_s, placed.until_s) for placed in clip) for clip in chunk.layout()]
    return [Clip(speech[0].start_s, speech[-1].end_s, speech) for speech in spans]


def _on_media_clock(segment: Segment, clock: MediaClock) -> Iterator[Segment]:
    """The segment in as many parts as there are long pauses in it, which its chunk's audio does not have."""

    words: list[Word] = []
    for word in segment.words:
        start_s, end_s = (round(at_s, 3) for at_s in clock.in_one_region_s(word.start_s, word.end_s))
        if words and start_s - words[-1].end_s > PAUSE_S:
            yield _of_words(segment, words)
            words = []
        words.append(replace(word, start_s=start_s, end_s=end_s))
    if words:
        yield _of_words(segment, words)
    else:
        start_s = round(clock.begins_s(segment.start_s), 3)
        yield replace(segment, start_s=start_s, end_s=max(start_s, round(clock.ends_s(segment.end_s), 3)))


def _of_words(segment: Segment, words: Sequence[Word]) -> Segment:
    text = "".join(word.text for word in words).strip()
    return replace(segment, start_s=words[0].start_s, end_s=words[-1].end_s, text=text, words=tuple(words))


def _language_so_far(context: Context, claim: Claim) -> str | None:
    """What the chunks of the job that are done were heard as."""
    with context.database.transaction() as connection:
        return spoken_language(passages.heard_languages(connection, claim.job_id))


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


def _options(asked: TranscriptionOptions, likely_language: str | None) -> TranscribeOptions:
    return TranscribeOptions(
        language=asked.language,
        likely_language=likely_language,
        task=asked.task,
        prompt=asked.prompt,
        hotwords=asked.hotwords,
    )


def _stored(segment: Segment, *, words: bool) -> TranscriptSegment:
    return TranscriptSegment(
        start_s=segment.start_s,
        end_s=segment.end_s,
        text=segment.text,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        temperature=segment.temperature,
        words=tuple(
            TranscriptWord(word.start_s, word.end_s, word.text.strip(), round(word.probability, 4))
            for word in segment.words
            if words
        ),
    )
