"""Recordings with a title and chapters, written by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

SAMPLE = Path(__file__).parents[1] / "examples" / "tides.ogg"
_CODECS = {".mka": "libopus", ".m4a": "aac", ".mp3": "libmp3lame", ".ogg": "libopus"}
_FORMATS = {".mka": "matroska", ".m4a": "ipod"}


@dataclass(frozen=True)
class Mark:
    """A chapter as it is written, in seconds."""

    title: str
    start_s: float
    end_s: float


def chaptered(
    path: Path, title: str | None, marks: Sequence[Mark], length_s: float = 4.5, track: str | None = None
) -> Path:
    """The beginning of the sample with these words in it; the kind is that of the name."""
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w", format=_FORMATS.get(path.suffix)) as target:
        if title is not None:
            target.metadata["title"] = title
        target.set_chapters([
            {
                "id": number, "start": round(mark.start_s * 1000), "end": round(mark.end_s * 1000),
                "time_base": Fraction(1, 1000), "metadata": {"title": mark.title} if mark.title else {},
            }
            for number, mark in enumerate(marks, 1)
        ])  # fmt: skip
        stream = target.add_stream(_CODECS[path.suffix], rate=48_000)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 48_000
        if track is not None:
            stream.metadata["title"] = track
        for frame in source.decode(audio=0):
            if frame.time is not None and frame.time >= length_s:
                break
            frame.pts = None
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path
