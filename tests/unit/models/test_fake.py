"""The fakes keep the contract of the real engines: same input, same answer, and as slow as they are told to be."""

from __future__ import annotations

import time

import numpy as np
import pytest

from models.engine import SAMPLE_RATE_HZ, Clip, TranscribeOptions
from models.fake import FakeEmbedder, FakeTranscriber

AUDIO = np.zeros(10 * SAMPLE_RATE_HZ, dtype=np.float32)
CLIPS = [Clip(0.5, 3.0), Clip(4.0, 9.25)]


def test_each_clip_is_one_segment_that_names_its_times() -> None:
    segments = list(FakeTranscriber().transcribe(AUDIO, CLIPS, TranscribeOptions()).segments)
    assert [(segment.start_s, segment.end_s) for segment in segments] == [(0.5, 3.0), (4.0, 9.25)]
    assert segments[1].text == "Speech from 4.00 to 9.25 seconds."


def test_words_fill_the_clip() -> None:
    asked = TranscribeOptions(language="de")
    answer = FakeTranscriber().transcribe(AUDIO, CLIPS, asked)
    words = next(answer.segments).words
    assert answer.language == "de"
    assert (words[0].start_s, words[-1].end_s) == pytest.approx((0.5, 3.0))
    assert "".join(word.text for word in words) == " Speech from 0.50 to 3.00 seconds."


def test_speed_is_audio_seconds_per_second() -> None:
    began = time.monotonic()
    list(FakeTranscriber(speed=50).transcribe(AUDIO, CLIPS, TranscribeOptions()).segments)
    assert time.monotonic() - began >= 7.75 / 50


@pytest.mark.parametrize("speed", [0.0, float("inf")])
def test_no_speed_or_infinite_speed_answers_at_once(speed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_seconds: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr("time.sleep", refuse)
    assert list(FakeTranscriber(speed).transcribe(AUDIO, [Clip(0, 3600)], TranscribeOptions()).segments)


def test_vectors_have_length_one_and_do_not_change() -> None:
    texts = ["a river", "", "a mountain"]
    vectors = FakeEmbedder().embed(texts)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors, FakeEmbedder().embed(texts))


def test_texts_that_share_words_are_more_alike_than_texts_that_do_not() -> None:
    river, same, other = FakeEmbedder().embed(["the river is wide", "Wide is the river!", "my cat sleeps"])
    assert river @ same == pytest.approx(1, abs=1e-5)
    assert river @ other < 0.3


def test_no_texts_are_no_vectors() -> None:
    assert FakeEmbedder(8).embed([]).shape == (0, 8)
