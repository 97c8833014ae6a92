"""Words become sentences: a reader gets lines that end where something ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import Segment, Word
from models.sentences import LONGEST_S, sentences


def spoken(text: str, word_s: float = 0.4, pauses: dict[int, float] | None = None) -> Segment:
    """Words of the text, one after the other, a pause of so many seconds before some of them."""
    words, now_s = [], 0.0
    for index, word in enumerate(text.split()):
        now_s += (pauses or {}).get(index, 0.0)
        words.append(Word(now_s, now_s + word_s, f" {word}", 0.9))
        now_s += word_s
    return Segment(0.0, 30.0, text, -0.2, 1.0, 0.0, 0.0, tuple(words))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("The sea rises. It falls.", ["The sea rises.", "It falls."]),
        ("Is it high? Yes! Go.", ["Is it high?", "Yes!", "Go."]),
        ("He said “Go.” She went.", ["He said “Go.”", "She went."]),
        ("Birds, e.g. gulls, eat at 3.5 knots.", ["Birds, e.g. gulls, eat at 3.5 knots."]),
        ("no end in sight", ["no end in sight"]),
    ],
)
def test_a_sentence_is_a_segment(text: str, parts: list[str]) -> None:
    assert [segment.text for segment in sentences(spoken(text))] == parts


def test_a_pause_ends_a_segment_in_the_middle_of_a_sentence() -> None:
    found = list(sentences(spoken("the tide comes and goes", pauses={3: 1.5})))
    assert [(s.text, s.start_s) for s in found] == [("the tide comes", 0.0), ("and goes", pytest.approx(2.7))]


def test_a_sentence_without_end_is_cut_at_a_clause_near_its_middle() -> None:
    text = " ".join(["water"] * 24) + " flows, " + " ".join(["and"] * 30)
    assert [len(s.text.split()) for s in sentences(spoken(text))] == [25, 30]


def test_languages_without_spaces_are_joined_without_spaces() -> None:
    words = tuple(Word(n / 2, n / 2 + 0.4, char, 0.9) for n, char in enumerate("潮が満ちる。また引く。"))
    segment = Segment(0, 6, "", -0.2, 1.0, 0.0, 0.0, words)
    assert [s.text for s in sentences(segment)] == ["潮が満ちる。", "また引く。"]


def test_a_segment_whose_words_are_not_known_stays_as_it_is() -> None:
    segment = Segment(0, 6, "One. Two.", -0.2, 1.0, 0.0, 0.0)
    assert list(sentences(segment)) == [segment]


@given(
    st.lists(st.sampled_from(["sea", "tide.", "moon,", "e.g.", "3.", "Wow!", "地。"]), min_size=1, max_size=80),
    st.floats(0.1, 2.0),
)
def test_no_word_is_lost_and_no_segment_goes_on_for_long(words: list[str], word_s: float) -> None:
    whole = spoken(" ".join(words), word_s)
    found = list(sentences(whole))
    assert [word for segment in found for word in segment.words] == list(whole.words)
    assert all(segment.end_s - segment.start_s <= max(LONGEST_S, word_s) + 1e-6 for segment in found)
    assert all(segment.text == " ".join(word.text.strip() for word in segment.words) for segment in found)
