"""A decoding loop is told from speech and cut to one round of it."""

from __future__ import annotations

import pytest

from models.repetition import MAX_COMPRESSION_RATIO, compression_ratio, loops, without_loops

SPEECH = "And so, my fellow Americans: ask not what your country can do for you, ask what you can do for your country."
LOOPS = ["500." + "000." * 60, "Thank you. " * 8, "It was so so so so so so so so so so far", "Untertitel von " * 30]


@pytest.mark.parametrize("text", ["", SPEECH, "No, no, no, no!", "Very, very well.", "one two three four five six"])
def test_speech_is_no_loop_and_stays_as_it_is(text: str) -> None:
    assert not loops(text)
    assert without_loops(text) == text


@pytest.mark.parametrize("text", LOOPS)
def test_a_loop_is_seen_and_cut(text: str) -> None:
    assert loops(text)
    cut = without_loops(text)
    assert not loops(cut)
    assert 0 < len(cut) < len(text)


def test_a_loop_after_much_speech_is_seen_though_the_whole_compresses_like_speech() -> None:
    text = f"{SPEECH} Whisper was then left alone with a room full of noise and music. {'Bye. ' * 6}"
    assert compression_ratio(text) < MAX_COMPRESSION_RATIO
    assert loops(text)
    assert without_loops(text).startswith(SPEECH)
