"""Which texts go through a model together: those of about one length, as many as a budget of tokens holds.

A batch is a rectangle as wide as its longest text; what the shorter ones do not fill is padding, computed for nothing.
So texts are taken in order of their length, and what is bounded is the rectangle, not the number of texts: four long
texts or forty short ones are about as much work, and take about as much memory. The longest come first, so that a
device that has no room says so at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.batching import BatchSize
from models.errors import OutOfDeviceMemory, device_errors

CPU_TOKENS, CUDA_TOKENS = 1024, 16_384
"""Tokens in a forward pass, until the device has no room for so many. A CPU is quickest while a layer's numbers stay
in its cache; a GPU has to be filled."""


def budget(device: str) -> BatchSize:
    """The tokens that go through a device (`cpu` or `cuda:N`) at once, at first."""
    return BatchSize(CUDA_TOKENS if device.startswith("cuda") else CPU_TOKENS)


def in_batches(
    lengths: Sequence[int],
    tokens: BatchSize,
    infer: Callable[[list[int]], None],
    on_batch: Callable[[], object] | None = None,
) -> None:
    """Call `infer` with the places of the texts of each batch, until all texts of these lengths have been in one.

    A batch that the device has no room for is halved, for good. Raises `OutOfDeviceMemory` if even one text at once is
    too much, `DeviceFailed`, or what `on_batch` raises, which is called after each batch.
    """
    waiting = longest_first(lengths)
    while waiting:
        width = lengths[waiting[0]]
        n = how_many(len(waiting), width, tokens.n)
        try:
            with device_errors():
                infer(waiting[:n])
        except OutOfDeviceMemory as error:
            if n == 1:
                raise
            tokens.halve(n * width, error)
            continue
        del waiting[:n]
        if on_batch is not None:
            on_batch()


def longest_first(lengths: Sequence[int]) -> list[int]:
    """The places of texts of so many tokens, in the order in which they are inferred; equals keep theirs."""
    return sorted(range(len(lengths)), key=lambda place: -lengths[place])


def how_many(waiting: int, width: int, budget: int) -> int:
    """How many of the texts that wait go together, in a rectangle of at most `budget` tokens; one always does.

    `width` is the number of tokens of the first, which is the longest.
    """
    return max(1, min(waiting, budget // max(1, width)))
