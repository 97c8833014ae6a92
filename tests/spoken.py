"""Segments for the tests of whatever reads a transcript: said in one line, or drawn by hypothesis, nasty ones too."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import strategies as st

from core.transcript import TranscriptSegment, TranscriptWord

NASTY_TEXTS = (
    "",
    " \t\r\n ",
    "\n\n00:00:01,000 --> 00:00:02,000\n\n7\n",
    "WEBVTT",
    "NOTE this is no comment",
    "STYLE\n::cue { color: red }",
    "<b>Tom & Jerry</b> &amp; <v Bob> --> <00:00:05.000>",
    "{\\an8}1984",
    "1\n\n2",
    "tab\tand\x0bform\x0cand\u2028line\u2029and\x85next\x1funit",
    "bell\x07 and null-like\x08",
    "« Bonjour ! »\u00a0: ça va ?",
    "潮は月の力で動きます。「一日に二回」、水は上がり、そして下がります。",
    "你好。" * 40,
    "조수는 달의 힘으로 움직입니다. 하루에 두 번 물이 오르고 내립니다.",
    "กระแสน้ำขึ้นและลงวันละสองครั้งเพราะดวงจันทร์" * 3,
    "שלום עולם, זה מבחן.",
    "a\u0301\u0302\u0303" * 60,
    "👨‍👩‍👧‍👦🇩🇪" * 30,
    "ᄀ" * 60,
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenfabrik" * 3,
    ". . . ! ? — – ( [ « " * 10,
    "\u200b\ufeff",
)

TEXTS = st.sampled_from(NASTY_TEXTS) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TEXTS |= st.lists(st.from_regex(r"[a-zA-Z]{1,12}[,.;?!]?", fullmatch=True), max_size=40).map(" ".join)


def said(*spans: tuple[float, float, str]) -> list[TranscriptSegment]:
    return [TranscriptSegment(start_s, end_s, text) for start_s, end_s, text in spans]


def word_by_word(start_s: float, words: str, each_s: float = 0.4) -> TranscriptSegment:
    """A segment whose words were timed, all of the same length."""
    ends = accumulate([each_s] * len(words.split()), initial=start_s)
    timed = [TranscriptWord(end_s, end_s + each_s, word, 0.9) for word, end_s in zip(words.split(), ends, strict=False)]
    return TranscriptSegment(start_s, timed[-1].end_s, words, words=tuple(timed))


@st.composite
def anyhow(draw: st.DrawFn) -> list[TranscriptSegment]:
    """Segments whose times are in no order, whose words lie anywhere."""
    times = st.floats(-5, 40)
    text = st.sampled_from(NASTY_TEXTS)
    words = st.builds(TranscriptWord, times, times, text, st.floats(0, 1))
    segments = st.builds(TranscriptSegment, times, times, text, words=st.lists(words, max_size=5).map(tuple))
    return draw(st.lists(segments, max_size=8))


@st.composite
def transcripts(draw: st.DrawFn) -> list[TranscriptSegment]:
    """Segments in order of time, one after the other or overlapping, with timed words or without, up to 20 h long."""
    segments: list[TranscriptSegment] = []
    now_s = draw(st.floats(0, 20 * 3600))
    for text in draw(st.lists(TEXTS, max_size=8)):
        now_s += draw(st.sampled_from([0.0, 0.3, 2.0]) | st.floats(0, 30))
        length_s = draw(st.sampled_from([0.0, 0.01]) | st.floats(0, 30))
        if draw(st.booleans()) and text.split():
            segments.append(word_by_word(now_s, text, length_s / len(text.split())))
        else:
            segments.append(TranscriptSegment(now_s, now_s + length_s, text))
        now_s += length_s * draw(st.sampled_from([1.0, 1.0, 0.5]))
    return segments
