"""Tells a decoding loop from speech, and cuts the loop that is left.

Whisper sometimes repeats one phrase until its window is full. `whisper` asks here about every decoded clip,
decodes a clip that loops again at higher temperatures, and as the last resort keeps the phrase once.
"""

from __future__ import annotations

import re
import zlib

MAX_COMPRESSION_RATIO = 2.4
"""Above this a text is taken for a loop: the threshold of the original Whisper decoder. Plain speech has 1 to 2."""

_LOOP = re.compile(r"(.{2,60}?)\1{5,}", re.DOTALL)
"""A phrase of 2 to 60 characters at least six times in a row: `500.000.000…`, `thank you. thank you. …`."""


def compression_ratio(text: str) -> float:
    """Length of the text in UTF-8 over the length of its zlib compression; 0 for no text."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0


def loops(text: str) -> bool:
    """Whether the text repeats itself as speech does not."""
    return compression_ratio(text) > MAX_COMPRESSION_RATIO or _LOOP.search(text) is not None


def without_loops(text: str) -> str:
    """The text, stripped, with each phrase that is repeated six times or more in a row kept once."""
    spaced = f"{text} "  # the last round of `thank you. thank you.` lacks the space that the others end with
    return _LOOP.sub(r"\1", spaced).strip()
