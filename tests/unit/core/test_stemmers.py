"""A language has one stemmer, or none."""

from __future__ import annotations

import pytest

from core.stemmers import STEMMERS, UNKNOWN, stemmer_of

KNOWN = [("en", "english"), ("de", "german"), ("ja", UNKNOWN), (None, UNKNOWN)]


@pytest.mark.parametrize(("language", "stemmer"), KNOWN)
def test_a_language_without_a_stemmer_is_taken_as_it_is_written(language: str | None, stemmer: str) -> None:
    assert stemmer_of(language) == stemmer


def test_no_two_languages_share_a_stemmer() -> None:
    assert len(set(STEMMERS.values())) == len(STEMMERS)
