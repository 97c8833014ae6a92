"""Doubts of a transcript become few warnings, each with its time."""

from __future__ import annotations

from core.doubts import NEAR_S, Doubted, warnings


def test_a_doubt_is_a_warning_with_its_time() -> None:
    (warning,) = warnings([Doubted(12.5, 14.0, "unheard")])
    assert (warning.code, warning.start_s, warning.end_s) == ("speech_unheard", 12.5, 14.0)
    assert "no words were understood" in warning.message


def test_near_doubts_of_one_kind_are_one_warning() -> None:
    doubts = [
        Doubted(0, 1, "unsure"),
        Doubted(1 + NEAR_S, 13, "unsure"),
        Doubted(24, 25, "unsure"),
        Doubted(25, 26, "repeated"),
    ]
    assert [(w.code, w.start_s, w.end_s) for w in warnings(doubts)] == [
        ("text_doubtful", 0, 13),
        ("text_doubtful", 24, 25),
        ("text_repeated", 25, 26),
    ]


def test_nothing_doubtful_is_no_warning() -> None:
    assert warnings([]) == []
