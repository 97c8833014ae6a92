"""How many clips or texts go through a model at once: found while it works, and held to what the device has room for.

An engine keeps one `BatchSize` for as long as its model is loaded. It begins with few, doubles while full batches get
through faster that way, and stays where that ends. Nothing is tried on the side: every batch is work that was asked
for.
"""

from __future__ import annotations

from models.errors import OutOfDeviceMemory

_SAMPLES = 2
"""Full batches of a size before it is judged, by the faster: the first of a process also warms the device up."""

_PAYS = 1.1
"""Twice as many at once must get through so much faster, or the memory they take is better left free."""


class BatchSize:
    """How many are inferred at once: at first `n`, at most `most` (none given: `n` is not looked beyond)."""

    def __init__(self, n: int, most: int = 0) -> None:
        self.n = n
        self._most = max(n, most)
        self._before = 0.0  # × a second with half as many
        self._rates: list[float] = []

    @property
    def found(self) -> bool:
        """Whether it changes no more, unless the device runs out of room."""
        return self.n >= self._most

    def ran(self, items: int, seconds: float) -> None:
        """A batch of so many took so long. One that was not full says nothing of its size."""
        if self.found or items < self.n or seconds <= 0:
            return
        self._rates.append(items / seconds)
        if len(self._rates) == _SAMPLES:
            self._judge(max(self._rates))
            self._rates.clear()

    def halve(self, tried: int, error: OutOfDeviceMemory) -> None:
        """So many were too many: try with half of them from now on, for good. Raises `error` where one is too many."""
        if tried == 1:
            raise error
        self._stay(tried // 2)

    def _judge(self, rate: float) -> None:
        if rate < self._before * _PAYS:
            self._stay(self.n // 2)
        elif self.n * 2 > self._most:
            self._stay(self.n)
        else:
            self._before = rate
            self.n *= 2

    def _stay(self, n: int) -> None:
        self.n = self._most = n


def fitting(free_bytes: int, each_bytes: int, most: int) -> int:
    """The largest power of two of items of `each_bytes` that fits, from 1 to `most`."""
    fits = max(1, min(most, free_bytes // each_bytes))
    return 1 << (int(fits).bit_length() - 1)
