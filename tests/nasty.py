"""Files that a stranger might send to bring a worker down: tiny, and much when they are opened."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

_CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
_PAGES = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
_FONTS = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"
_PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<<" + _FONTS + b">>>>"
_WORDS = b"BT (ha ha ha) Tj ET "
_MIB = 1024 * 1024


def pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, the first of which is the catalogue."""
    content, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, text in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n" % number + text + b"\nendobj\n"
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
    content += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(content + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(offsets) + 1, start))


def _stream(content: bytes, filters: bytes = b"") -> bytes:
    return b"<<%b/Length %d>>\nstream\n" % (filters, len(content)) + content + b"\nendstream"


def _deflated(piece: bytes, n_bytes: int) -> bytes:
    """So many bytes of one repeated piece, without ever holding them."""
    packer = zlib.compressobj(1)
    block = piece * (_MIB // len(piece))
    return b"".join(packer.compress(block) for _ in range(n_bytes // _MIB)) + packer.flush()


def inflating_pdf() -> bytes:
    """A page of 13 kB that are 1 GB when they are unpacked, twice."""
    twice = zlib.compress(_deflated(b"\0", 1024 * _MIB), 9)
    return pdf(_CATALOG, _PAGES, _PAGE, _stream(twice, b"/Filter[/FlateDecode/FlateDecode]"))


def wordy_pdf(n_bytes: int = 64 * _MIB) -> bytes:
    """A page of a few words, and one of 0.3 MB with ten million, which takes seconds, and hundreds of megabytes."""
    pages = b"<</Type/Pages/Kids[5 0 R 3 0 R]/Count 2>>"
    first = _PAGE.replace(b"4 0 R", b"6 0 R")
    words = _stream(_deflated(_WORDS, n_bytes), b"/Filter/FlateDecode")
    return pdf(_CATALOG, pages, _PAGE, words, first, _stream(_WORDS))


def long_winded_pdf() -> bytes:
    """A page with one word of two million letters."""
    return pdf(_CATALOG, _PAGES, _PAGE, _stream(b"BT (" + b"a" * 2 * _MIB + b") Tj ET"))


def multiplying_pdf() -> bytes:
    """Nine forms, each of which shows the next one twenty times: 20⁹ words in all."""
    own = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<<" + _FONTS + b"/XObject<</X %d 0 R>>>>"
    forms = [_stream(b"/X Do " * 20 if n < 13 else _WORDS, own % (n + 1)) for n in range(5, 14)]
    page = _PAGE.replace(_FONTS, _FONTS + b"/XObject<</X 5 0 R>>")
    return pdf(_CATALOG, _PAGES, page, _stream(b"/X Do " * 20), *forms)


def million_page_pdf() -> bytes:
    """A tree with the same page a million times."""
    return pdf(_CATALOG, b"<</Type/Pages/Kids[" + b"3 0 R " * 1_000_000 + b"]/Count 1000000>>", _PAGE, _stream(b""))


def looping_pdf() -> bytes:
    """A tree of pages that holds itself."""
    return pdf(_CATALOG, b"<</Type/Pages/Kids[2 0 R 3 0 R]/Count 2>>", _PAGE, _stream(b""))


UNREADABLE_PDFS: Sequence[Callable[[], bytes]] = (inflating_pdf, million_page_pdf, looping_pdf)


def wav(content: bytes, *, rate_hz: int = 16_000, channels: int = 1, claimed_bytes: int | None = None) -> bytes:
    """16-bit PCM, whatever its header says."""
    claimed = len(content) if claimed_bytes is None else claimed_bytes
    block = (channels * 2) & 0xFFFF
    sound = struct.pack("<HHIIHH", 1, channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block, 16)
    return (
        b"RIFF"
        + struct.pack("<I", claimed)
        + b"WAVEfmt \x10\0\0\0"
        + sound
        + b"data"
        + struct.pack("<I", claimed)
        + content
    )


def noise(n_bytes: int) -> bytes:
    return random.Random(1).randbytes(n_bytes)


def slow_wav() -> bytes:
    """0.4 MB at one sample a second: two days and a half."""
    return wav(noise(400_000), rate_hz=1)


UNREADABLE_WAVS: Mapping[str, Callable[[], bytes]] = {
    "a rate without end": lambda: wav(noise(400_000), rate_hz=2**31 - 1),
    "a rate of none": lambda: wav(noise(400_000), rate_hz=0),
    "more channels than there are": lambda: wav(noise(400_000), channels=65_535),
}
