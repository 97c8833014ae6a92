"""Decoding anew comes to an end: a worker is not held for long by what is no speech."""

from __future__ import annotations

from models.patience import AT_LEAST_S, SHARE, Patience


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_some_time_is_left_however_short_the_first_decoding_was() -> None:
    clock = Clock()
    patience = Patience(clock)
    with patience.taxed():
        seen = []
        for seconds in (AT_LEAST_S - 1, 2):
            clock.now_s += seconds
            seen.append(patience.is_over)
    assert [*seen, patience.is_over] == [False, True, True]


def test_a_long_first_decoding_leaves_more() -> None:
    clock = Clock()
    patience = Patience(clock)
    patience.allow(60.0)
    with patience.taxed():
        clock.now_s += SHARE * 60 - 1
    assert not patience.is_over


def test_what_is_decoded_once_costs_nothing() -> None:
    clock = Clock()
    patience = Patience(clock)
    clock.now_s += 1000
    assert not patience.is_over
