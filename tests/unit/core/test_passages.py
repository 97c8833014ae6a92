"""Passages hold all of the text, keep to the limit, end where sentences end and say where they come from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.passages import CHARS_PER_TOKEN, COMPLETE_S, LONGEST_S, Page, Passage, TimedText, from_pages, from_segments

NO_LIMIT = 10_000


def count_words(text: str) -> int:
    """A tokenizer that sees one token in a word and adds a start and an end mark."""
    return 2 + len(text.split())


def count_bytes(text: str) -> int:
    """A tokenizer that sees one token in each byte, spaces included."""
    return len(text.encode())


def letters(texts: Sequence[str]) -> str:
    return "".join("".join(text.split()) for text in texts)


def texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]


prose = st.text(st.sampled_from("aB1é漢 \n\t.!?。”-\u00a0\x1f")) | st.text(st.characters(exclude_categories=["Cs"]))
counters = st.sampled_from([count_words, count_bytes])
limits = st.integers(min_value=5, max_value=60)
documents = st.lists(prose, max_size=6).map(lambda parts: [Page(number, text) for number, text in enumerate(parts, 1)])


@st.composite
def transcripts(draw: st.DrawFn) -> list[TimedText]:
    at_s, segments = 0.0, []
    for text in draw(st.lists(prose, max_size=12)):
        start_s = at_s + draw(st.floats(0, 40))
        at_s = start_s + draw(st.floats(0.1, 35))
        segments.append(TimedText(start_s, at_s, text))
    return segments


@given(documents, counters, limits)
def test_a_document_loses_no_letter_and_no_passage_is_over_the_limit_or_empty(pages, count, limit):  # type: ignore[no-untyped-def]
    passages = from_pages(pages, count, limit)
    assert letters(texts(passages)) == letters([page.text for page in pages])
    assert all(0 < count(passage.text) <= limit for passage in passages)
    assert all(passage.text and passage.text == " ".join(passage.text.split()) for passage in passages)
