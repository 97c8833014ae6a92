"""Makes words whole: ligatures become letters, and what was parted at line ends is joined again.

Only the document itself shows how a word is written, and it does not fit in memory: `pdf` shows the pages once for the
words that are parted, again for those that are not, and then has them joined.
"""

from __future__ import annotations

import re
import unicodedata

# PostgreSQL text takes neither NUL nor half of a surrogate pair; other control characters tell a terminal what to do.
# Those left out here are white space.
_UNSTORABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
# Ligatures and the shapes of Arabic and Hebrew letters: one way to print letters that have characters of their own.
# The rest of NFKC would lose meaning: x² is not x2.
_SHAPES = re.compile("[\ufb00-\ufd3d\ufd50-\ufdfb\ufe70-\ufefc]+")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
# From a word's first letter on alone: else a word of a million letters would be looked through a million times.
_LINE_END_HYPHEN = re.compile(r"(?<![^\W\d_])([^\W\d_]+)([-\u2010\u00ad])[^\S\n]*\n[^\S\n]*([^\W\d_]+)")
_SOFT_HYPHEN = "\u00ad"  # printed only where a line breaks, so it is never part of the word


def storable(text: str) -> str:
    """The text in letters that search compares and PostgreSQL takes, without space around it."""
    letters = _SHAPES.sub(lambda found: unicodedata.normalize("NFKC", found[0]), _UNSTORABLE.sub("", text))
    return unicodedata.normalize("NFC", letters).strip()


class PartedWords:
    """The words that a document parts at line ends, and which of their spellings it uses elsewhere."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._used: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any word is parted."""
        return bool(self._asked)

    def ask(self, text: str) -> None:
        """Take in the words that are parted in the text of a page."""
        for found in _LINE_END_HYPHEN.finditer(text):
            before, _, after = found.groups()
            self._asked |= {f"{before}{after}".casefold(), f"{before}-{after}".casefold()}

    def see(self, text: str) -> None:
        """Take in how the text of a page writes those words."""
        self._used |= self._asked.intersection(map(str.casefold, _WORD.findall(text)))

    def joined(self, text: str) -> str:
        """The text with its words whole, where the document shows how they are written."""
        return _LINE_END_HYPHEN.sub(self._join, text)

    def _join(self, match: re.Match[str]) -> str:
        before, hyphen, after = match.groups()
        if hyphen == _SOFT_HYPHEN or f"{before}{after}".casefold() in self._used:
            return f"{before}{after}"
        if f"{before}-{after}".casefold() in self._used:
            return f"{before}-{after}"
        return match.group()
