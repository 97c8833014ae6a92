"""The language of a document is guessed from its first pages."""

from __future__ import annotations

import pytest

from workers.inputs.languages import language_of

ENGLISH = "The sea does not keep the hours of the sun. Every day the tide comes fifty minutes later."
GERMAN = "Das Meer hält sich nicht an die Uhr der Sonne. Jeden Tag kommt die Flut fünfzig Minuten später."


@pytest.mark.parametrize(("texts", "language"), [([ENGLISH], "en"), ([GERMAN, GERMAN], "de"), (["", ENGLISH], "en")])
def test_running_text_tells_its_language(texts: list[str], language: str) -> None:
    assert language_of(texts) == language


@pytest.mark.parametrize("texts", [[], [""], ["12 345 %"], ["Fig. 3"], ["1" * 10_000]])
def test_too_little_text_tells_nothing(texts: list[str]) -> None:
    assert language_of(texts) is None


def test_only_the_first_pages_are_looked_at() -> None:
    assert language_of([ENGLISH * 300, GERMAN * 3000]) == "en"
