"""What an engine hears in a chunk is told in the time of the recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.plan import AudioChunk, Clip, Region
from models import engine as heard
from models.engine import Segment, TranscribeOptions, Transcription, Word
from workers.stages.transcribe import clips_of, hear

CHUNK = AudioChunk((Clip((Region(100.0, 102.0), Region(110.0, 113.0))), Clip((Region(130.0, 134.0),))), max_pause_s=0.5)
"""In its audio: 0 to 2, 2.5 to 5.5, and 6 to 10."""


@dataclass
class Scripted:
    """Hears what it is told."""

    segments: Sequence[Segment] = ()

    def transcribe(
        self, audio: NDArray[np.float32], clips: Sequence[heard.Clip], options: TranscribeOptions
    ) -> Transcription:
        return Transcription("en", 0.9, iter(self.segments))

    def close(self) -> None:
        pass


def spoken(*words: tuple[float, float, str]) -> Segment:
    timed = tuple(Word(start_s, end_s, f" {text}", 0.9) for start_s, end_s, text in words)
    text = " ".join(text for *_, text in words)
    return Segment(words[0][0], words[-1][1], text, -0.2, 1.0, 0.0, 0.0, timed)


def hearing(engine: Scripted) -> Transcription:
    return hear(engine, np.zeros(160_000, np.int16), CHUNK, TranscribeOptions("en"))


def times(segments: Iterator[Segment]) -> list[tuple[float, float, str]]:
    return [(segment.start_s, segment.end_s, segment.text) for segment in segments]


def test_the_clips_of_a_chunk_are_where_its_audio_has_them() -> None:
    spans = [[(span.start_s, span.end_s) for span in clip.speech] for clip in clips_of(CHUNK)]
    assert spans == [[(0.0, 2.0), (2.5, 5.5)], [(6.0, 10.0)]]
    assert [(clip.start_s, clip.end_s) for clip in clips_of(CHUNK)] == [(0.0, 5.5), (6.0, 10.0)]


def test_times_are_those_of_the_recording() -> None:
    engine = Scripted([spoken((0.5, 1.0, "It"), (1.0, 1.8, "rises.")), spoken((6.25, 9.0, "Falls."))])
    assert times(hearing(engine).segments) == [(100.5, 101.8, "It rises."), (130.25, 133.0, "Falls.")]


def test_a_segment_does_not_go_on_over_a_long_pause_of_the_recording() -> None:
    engine = Scripted([spoken((1.0, 1.9, "It"), (2.6, 3.0, "rises,"), (3.5, 5.0, "again."))])
    assert times(hearing(engine).segments) == [(101.0, 101.9, "It"), (110.1, 112.5, "rises, again.")]


def test_a_segment_of_which_no_words_are_known_is_told_as_a_whole() -> None:
    assert times(hearing(Scripted([Segment(1.0, 3.0, "It rises.", -0.2, 1.0, 0.0, 0.0)])).segments) == [
        (101.0, 110.5, "It rises.")
    ]
