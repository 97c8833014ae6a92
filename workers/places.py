"""Places that the processes of one worker share: so many of them at most do one thing at a time.

Whoever waits for a stranger's server does no work. With a place for each process a few slow servers would keep every
upload waiting, so `stages.fetch` takes one of fewer, and `attempts` gives back the chunk of whoever finds none.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POSTPONED_S = 5.0
"""After which a chunk that found no place is tried again."""


class Postponed(Exception):
    """All places are taken; the chunk is to be given back, at no charge, for `POSTPONED_S`."""


@contextmanager
def one_of(n: int, name: str, folder: Path) -> Iterator[None]:
    """Hold one of `n` places for the length of the block; the system takes it from a process that dies.

    The processes of a worker have one parent, by which its files in `folder` are told from another worker's. Raises
    `Postponed`.
    """
    for number in range(n):
        with (folder / f"{name}-{os.getppid()}-{number}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield
            return
    raise Postponed
