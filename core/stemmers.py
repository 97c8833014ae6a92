"""Which of PostgreSQL's text search configurations reads a language: it knows endings, and words that say nothing.

A passage is stored with the name of its stemmer (`core.store.results`), by the language that was heard in the recording
or that `workers.inputs.languages` takes the document for; a word of a query is looked for as each of the account's
stemmers would have stored it (`core.store.keywords`). The SQL function `passage_tsv` of migration 0016 knows the same
names, and a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "simple"
"""Words as they are written, in small letters: for a language that is unknown, or has no stemmer here."""

STEMMERS: Mapping[str, str] = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""By the code of the language, as Whisper and ISO 639-1 write it."""


def stemmer_of(language: str | None) -> str:
    """The stemmer for a language; None: unknown."""
    return STEMMERS.get(language or "", UNKNOWN)
