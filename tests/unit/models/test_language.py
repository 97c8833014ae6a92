"""The language of a chunk is heard where most is said, and a guess gives way to what the rest was heard as."""

from __future__ import annotations

from collections.abc import Mapping

from models.engine import Clip, Span
from models.language import ENOUGH_S, MAX_WINDOWS, Detected, detect

SURELY_GERMAN = {"de": 0.95, "en": 0.05}
PERHAPS_DUTCH = {"nl": 0.4, "de": 0.35, "en": 0.25}


class Listener:
    """Gives each clip the probabilities that it is told, by the clip's start, and notes what was listened to."""

    def __init__(self, heard: Mapping[float, Mapping[str, float]]) -> None:
        self.heard = heard
        self.listened_to: list[float] = []

    def __call__(self, clip: Clip) -> Mapping[str, float]:
        self.listened_to.append(clip.start_s)
        return self.heard[clip.start_s]


def test_the_clip_with_the_most_speech_is_listened_to_and_no_other_if_it_is_sure() -> None:
    listener = Listener({10.0: SURELY_GERMAN})
    short, long = Clip(0, 9, (Span(0, 2),)), Clip(10, 18, (Span(10, 13), Span(14, 18)))
    assert detect([short, long], listener, None) == Detected("de", 0.95)
    assert listener.listened_to == [10]


def test_clips_that_are_unsure_alone_decide_together_by_their_speech() -> None:
    listener = Listener({0.0: {"nl": 0.4, "de": 0.3}, 10.0: {"en": 0.45, "de": 0.4}, 20.0: {"de": 0.9}})
    heard = detect([Clip(0, 10), Clip(10, 18), Clip(20, 25)], listener, None)
    assert heard.language == "de"
    assert round(heard.probability, 3) == round((0.3 * 10 + 0.4 * 8 + 0.9 * 5) / 23, 3)


def test_no_more_clips_are_listened_to_than_are_worth_it() -> None:
    listener = Listener({float(start): PERHAPS_DUTCH for start in range(0, 100, 10)})
    detect([Clip(start, start + 5) for start in range(0, 100, 10)], listener, None)
    assert len(listener.listened_to) == MAX_WINDOWS


def test_a_guess_gives_way_to_what_the_recording_was_heard_as() -> None:
    assert detect([Clip(0, 10)], Listener({0.0: PERHAPS_DUTCH}), "de") == Detected("de", 0.35)


def test_a_word_is_too_little_to_switch_the_language_however_sure_the_model_is() -> None:
    assert detect([Clip(0, ENOUGH_S / 2)], Listener({0.0: SURELY_GERMAN}), "en") == Detected("en", 0.05)


def test_enough_speech_of_another_language_switches_it() -> None:
    assert detect([Clip(0, 10)], Listener({0.0: SURELY_GERMAN}), "en").language == "de"


def test_the_best_guess_stands_where_nothing_else_is_known() -> None:
    assert detect([Clip(0, 10)], Listener({0.0: PERHAPS_DUTCH}), None) == Detected("nl", 0.4)
