"""Every file is read back by a parser that is not ours, whatever was said and however late."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from core.subtitles import Cue, Layout, cues_of
from core.transcript import TranscriptSegment
from service.transcript_files import FILE_FORMATS, srt, text, tsv, vtt
from tests.spoken import TEXTS, said, transcripts

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Read:
    """A cue as the parser understood it."""

    start_ms: int
    end_ms: int
    text: str


def _read(captions: webvtt.WebVTT) -> list[Read]:
    return [Read(c.start_time.in_milliseconds(), c.end_time.in_milliseconds(), c.raw_text) for c in captions.captions]


def read_srt(written: str) -> list[Read]:
    return _read(webvtt.from_buffer(StringIO(written), format="srt")) if written else []


def read_vtt(written: str) -> list[Read]:
    read = _read(webvtt.from_string(written, strict=True))
    return [Read(cue.start_ms, cue.end_ms, html.unescape(cue.text)) for cue in read]


def shown(cues: Sequence[Cue]) -> list[Read]:
    return [Read(cue.start_ms, cue.end_ms, "\n".join(cue.lines)) for cue in cues]


@given(transcripts())
def test_webvtt_is_read_back_as_it_was_said(segments: list[TranscriptSegment]) -> None:
    cues = list(cues_of(segments, Layout()))

    assert read_vtt(vtt(cues)) == shown(cues)


@given(transcripts())
def test_subrip_is_read_back_as_it_was_said(segments: list[TranscriptSegment]) -> None:
    cues = list(cues_of(segments, Layout()))
    written = srt(cues)

    assert read_srt(written) == [Read(c.start_ms, c.end_ms, c.text.replace("-->", "->")) for c in shown(cues)]
    numbers = re.findall(r"^(\d+)\n[\d:,]+ --> ", written, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(cues) + 1)]


def test_subrip_is_written_as_players_know_it() -> None:
    cues = [Cue(0, 1500, ("The tide", "comes in.")), Cue(HOUR_MS + 62_003, 100 * HOUR_MS, ("It goes out.",))]

    assert srt(cues) == (
        "1\n00:00:00,000 --> 00:00:01,500\nThe tide\ncomes in.\n\n2\n01:01:02,003 --> 100:00:00,000\nIt goes out.\n\n"
    )


def test_webvtt_escapes_what_could_be_taken_for_tags_and_times() -> None:
    assert vtt([Cue(0, 1500, ("<i>Tom</i> & Jerry --> &amp;",))]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n&lt;i&gt;Tom&lt;/i&gt; &amp; Jerry --&gt; &amp;amp;\n\n"
    )


@pytest.mark.parametrize(
    ("form", "empty"), [("srt", ""), ("vtt", "WEBVTT\n\n"), ("tsv", "start\tend\ttext\n"), ("text", "")]
)
def test_silence_is_a_file_as_well(form: str, empty: str) -> None:
    assert FILE_FORMATS[form].write([], Layout()) == empty


def test_tab_separated_values_are_milliseconds_and_text() -> None:
    assert tsv(said((0.5, 2.0004, "The\ttide\ncomes in. "), (3600, 3601.5, "Again."))) == (
        "start\tend\ttext\n500\t2000\tThe tide comes in.\n3600000\t3601500\tAgain.\n"
    )


@given(st.lists(TEXTS))
def test_tab_separated_values_have_three_columns_and_a_line_for_each_segment(texts: list[str]) -> None:
    written = tsv(said(*((float(n), n + 1.0, each) for n, each in enumerate(texts))))

    rows = [line.split("\t") for line in written.split("\n")[:-1]]
    assert rows[1:] == [[str(n * 1000), str((n + 1) * 1000), " ".join(each.split())] for n, each in enumerate(texts)]


def test_text_ends_with_a_line_feed() -> None:
    assert text(said((0, 1, "First."), (9, 10, "Second."))) == "First.\n\nSecond.\n"


@given(transcripts(), st.sampled_from(sorted(FILE_FORMATS)))
def test_no_file_begins_with_a_byte_order_mark_or_holds_a_carriage_return(
    segments: list[TranscriptSegment], form: str
) -> None:
    written = FILE_FORMATS[form].write(segments, Layout())

    assert "\r" not in written
    assert not written.encode().startswith(b"\xef\xbb\xbf")
