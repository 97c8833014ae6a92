"""Texts of about one length go together, as many as the budget holds."""

from __future__ import annotations

import pytest

from models.token_batches import how_many, longest_first


def test_the_longest_come_first_and_equals_keep_their_order() -> None:
    assert longest_first([3, 9, 3, 12, 9]) == [3, 1, 4, 0, 2]
    assert longest_first([]) == []


@pytest.mark.parametrize(
    ("waiting", "width", "together"), [(100, 256, 4), (100, 257, 3), (2, 256, 2), (100, 5000, 1), (100, 0, 100)]
)
def test_as_many_go_together_as_their_rectangle_has_room_for_and_one_always(
    waiting: int, width: int, together: int
) -> None:
    assert how_many(waiting, width, budget=1024) == together
