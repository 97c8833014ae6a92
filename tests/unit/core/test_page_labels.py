"""Printed page numbers: where a new series begins, and how a stretch of pages is named."""

from __future__ import annotations

import pytest

from core.page_labels import restarts, span


@pytest.mark.parametrize(("previous", "label"), [("iv", "1"), ("12", "1"), ("12", "A-1"), ("A-3", "B-1"), ("4", "i")])
def test_a_new_series_begins(previous: str, label: str) -> None:
    assert restarts(previous, label)


@pytest.mark.parametrize(
    ("previous", "label"),
    [("iii", "iv"), ("1", "2"), ("9", "10"), ("A-1", "A-2"), ("IX", "X"), (None, "1"), ("iv", None), ("Cover", "Back")],
)
def test_a_series_goes_on(previous: str | None, label: str | None) -> None:
    assert not restarts(previous, label)


def test_a_stretch_of_pages_is_named_by_its_ends() -> None:
    assert span("iii", "iii") == "iii"
    assert span("iii", "iv") == "iii–iv"
    assert span(None, "iv") is None
