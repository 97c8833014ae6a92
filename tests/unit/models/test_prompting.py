"""What is said beforehand leaves half of the decoder's window to what is heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from models.engine import TranscribeOptions
from models.prompting import MAX_TOKENS, fitted


@dataclass
class Encoded:
    ids: Sequence[int]


class Numbers:
    """A tokenizer of texts that are numbers."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Encoded:
        return Encoded([int(number) for number in sequence.split()])

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


def numbers(n: int) -> str:
    return " ".join(map(str, range(n)))


@pytest.mark.parametrize(
    ("n_prompt", "n_hotwords", "kept"),
    [(100, 100, (100, 100)), (500, 0, (220, 0)), (0, 500, (0, 220)), (500, 500, (110, 110)), (20, 500, (20, 200))],
)
def test_as_much_as_has_room_is_kept(n_prompt: int, n_hotwords: int, kept: tuple[int, int]) -> None:
    told = fitted(TranscribeOptions(prompt=numbers(n_prompt), hotwords=numbers(n_hotwords)), Numbers())
    prompt, hotwords = (told.prompt or "").split(), (told.hotwords or "").split()
    assert (len(prompt), len(hotwords)) == kept
    assert len(prompt) + len(hotwords) <= MAX_TOKENS


def test_of_a_prompt_the_end_is_kept_and_of_the_hotwords_the_beginning() -> None:
    told = fitted(TranscribeOptions(prompt=numbers(500), hotwords=numbers(500)), Numbers())
    assert (told.prompt or "").endswith("499")
    assert (told.hotwords or "").startswith("0 1 ")


def test_nothing_said_beforehand_stays_nothing() -> None:
    assert fitted(TranscribeOptions("en"), Numbers()) == TranscribeOptions("en")
