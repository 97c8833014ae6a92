"""A transcript as the files that other programs read: SubRip, WebVTT and tab-separated values.

`core.subtitles` cuts the cues and `core.transcript` makes the plain text; the route that answers a transcript chooses.
Every file is UTF-8 without a byte order mark, with line feeds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.subtitles import Cue, Layout, cues_of
from core.transcript import TranscriptSegment, plain_text

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How a transcript is written, and the media type of the answer."""

    media_type: str
    write: Callable[[Sequence[TranscriptSegment], Layout], str]


def text(segments: Sequence[TranscriptSegment]) -> str:
    """The plain text, ended by a line feed; nothing at all if nothing was said."""
    return plain_text(segments) + "\n" if segments else ""


def srt(cues: Iterable[Cue]) -> str:
    """SubRip. It can escape nothing: an arrow of the text that a reader would take for a time is shortened."""
    return "".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{_lines(cue).replace('-->', '->')}\n\n"
        for number, cue in enumerate(cues, 1)
    )


def vtt(cues: Iterable[Cue]) -> str:
    """WebVTT as the W3C describes it, the three characters escaped that could be taken for tags or times."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{_lines(cue).translate(_ENTITIES)}\n\n"
        for cue in cues
    )


def tsv(segments: Iterable[TranscriptSegment]) -> str:
    """A line for each segment: start and end in milliseconds, and the text, tabs and line ends in it made spaces."""
    rows = (f"{round(s.start_s * 1000)}\t{round(s.end_s * 1000)}\t{' '.join(s.text.split())}\n" for s in segments)
    return "start\tend\ttext\n" + "".join(rows)


FILE_FORMATS: Mapping[str, FileFormat] = {
    "text": FileFormat("text/plain", lambda segments, _: text(segments)),
    "srt": FileFormat("application/x-subrip", lambda segments, layout: srt(cues_of(segments, layout))),
    "vtt": FileFormat("text/vtt", lambda segments, layout: vtt(cues_of(segments, layout))),
    "tsv": FileFormat("text/tab-separated-values", lambda segments, _: tsv(segments)),
}
"""By the name in a request; `json` is not among them, which is no file but the model `TranscriptOut`."""


def _lines(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _clock(time_ms: int, point: str) -> str:
    """Such as `01:02:03,450`; hours have as many digits as they need, two at least."""
    seconds, millis = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{millis:03}"
