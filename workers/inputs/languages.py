"""Which language the text of a document is in, so that search knows the endings of its words.

`prepare` asks after a PDF is read; of a recording Whisper says it. A guess from the first pages: a wrong one costs
nothing but that words are found only as they are written.
"""

from __future__ import annotations

from collections.abc import Iterable

LOOKED_AT = 20_000
"""Characters: ten pages or so, more than it takes to be sure."""

_TOO_FEW = 40


def language_of(texts: Iterable[str]) -> str | None:
    """The code of ISO 639-1, or None where there is too little text to tell."""
    import py3langid

    sample = ""
    for text in texts:
        sample += text + " "
        if len(sample) >= LOOKED_AT:
            break
    if sum(character.isalpha() for character in sample[:LOOKED_AT]) < _TOO_FEW:
        return None
    language: str = py3langid.classify(sample[:LOOKED_AT])[0]
    return language
