"""Where a text may be parted: after a sentence, after a clause, and between characters of a script without spaces.

Whoever cuts or joins text asks here: `core.passages` for search, `core.transcript` for paragraphs, `core.subtitles` for
cues and their lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_CLOSING = "\"'”’»)\\]」』）"

ENDS_SENTENCE = re.compile(rf"[.!?…。！？][{_CLOSING}]*$")
"""Found in a text that ends a sentence, perhaps inside quotation marks or brackets."""

ASKS = re.compile(rf"[?？؟][{_CLOSING}]*$")
"""Found in a text that asks something."""

ENDS_CLAUSE = re.compile(rf"[,;:，、；：–—][{_CLOSING}]*$")
"""Found in a text after which a reader takes a breath."""

UNSPACED = "\u2e80-\u312f\u31a0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
"""For a character class: what Chinese and Japanese are written with. Their words stand without spaces, and a line ends
after any character. Korean and Thai are not among them: they set spaces between words, or between sentences."""

_UNSPACED = re.compile(f"[{UNSPACED}]")


def joined(parts: Iterable[str]) -> str:
    """The parts in a row, with what their script puts between them: a space, or nothing. Empty parts leave none."""
    text = ""
    for part in filter(None, parts):
        unspaced = _UNSPACED.match(text[-1:]) and _UNSPACED.match(part)
        text += part if unspaced or not text else f" {part}"
    return text
