"""Makes the sample recording and the sample PDF again from their words.

    python examples/make_samples.py

`recording.txt` becomes `tides.ogg`, `document.md` becomes `tides.pdf`. Both are committed, so only someone who
changes the words needs this, and only then the speech synthesizer: Debian's package `flite`, with its voice slt,
which Whisper base reads back almost word for word. The demo and the acceptance tests use what is made here.
"""

from __future__ import annotations

import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE_HZ = 16_000
BIT_RATE = 32_000  # bits per second; Opus keeps one voice clear at this
SENTENCE_PAUSE_S = 0.5
PARAGRAPH_PAUSE_S = 1.5
MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)  # a fixed date, so that the same words make the same file

Samples = NDArray[np.int16]


def main() -> None:
    """Write both samples beside this script."""
    encode(narrate((HERE / "recording.txt").read_text(encoding="utf-8")), HERE / "tides.ogg")
    typeset((HERE / "document.md").read_text(encoding="utf-8"), HERE / "tides.pdf")


def narrate(words: str) -> Samples:
    """The text spoken sentence by sentence, with a pause after each: mono samples at `RATE_HZ`."""
    parts: list[Samples] = []
    for paragraph in words.strip().split("\n\n"):
        for sentence in paragraph.replace("\n", " ").replace(". ", ".\n").splitlines():
            parts += [speak(sentence), silence(SENTENCE_PAUSE_S)]
        parts.append(silence(PARAGRAPH_PAUSE_S - SENTENCE_PAUSE_S))
    return np.concatenate(parts)


def silence(seconds: float) -> Samples:
    """Samples of nothing."""
    return np.zeros(round(seconds * RATE_HZ), dtype=np.int16)


def speak(sentence: str) -> Samples:
    """One sentence in the voice slt."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sentence.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", sentence, "-o", str(wav)], check=True)
        with av.open(str(wav)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
            frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
            frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.int16)


def encode(samples: Samples, path: Path) -> None:
    """Write mono samples as Ogg Opus, which keeps a minute and a half under 400 kB."""
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono", bit_rate=BIT_RATE)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        fifo = av.AudioFifo()
        fifo.write(frame)
        while part := fifo.read(stream.codec_context.frame_size or 320, partial=True):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def typeset(words: str, path: Path) -> None:
    """Write Markdown of one title, a subtitle and sections: each section on a page of its own, with its number."""
    title, *sections = words.strip().split("\n\n## ")
    pdf = NumberedPages(format=(148, 210))  # A5, in millimeters
    pdf.set_creation_date(MADE_AT)
    pdf.set_title(title.splitlines()[0].removeprefix("# "))
    pdf.set_margin(18)
    pdf.set_auto_page_break(auto=True, margin=18)
    for number, section in enumerate(sections):
        heading, *paragraphs = section.split("\n\n")
        pdf.add_page()
        if number == 0:
            name, subtitle = title.split("\n\n")
            write(pdf, name.removeprefix("# "), size=20, style="B")
            write(pdf, subtitle, size=12, style="I")
        write(pdf, heading, size=14, style="B")
        for paragraph in paragraphs:
            write(pdf, paragraph.replace("\n", " "), size=10.5)
    pdf.output(str(path))


class NumberedPages(FPDF):
    """A document with the page's number at its foot."""

    def footer(self) -> None:
        """Called by fpdf2 at the end of each page."""
        self.set_y(-14)
        self.set_font("Times", size=9)
        self.cell(0, 6, str(self.page_no()), align="C")


def write(pdf: FPDF, text: str, *, size: float, style: str = "") -> None:
    """One paragraph, and the space below it."""
    pdf.set_font("Times", style=style, size=size)
    pdf.multi_cell(0, size * 0.5, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.ln(3)


if __name__ == "__main__":
    main()
