"""Folders for files in work: uploads and decoded audio, while a stage has them open.

Each worker process has its own and holds a lock on it. What a killed one left behind is a stranger's recording, so
whoever starts next on the machine removes every folder that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder that this process holds until it is removed, or the process ends."""

    folder: Path
    _lock: int

    def remove(self) -> None:
        """Give the folder back, with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def take(parent: Path | None = None) -> Scratch:
    """A new folder under `parent`, after those of dead processes are gone. `parent` is in the system's temp folder."""
    parent = parent or Path(tempfile.gettempdir()) / f"scribelane-{os.getuid()}"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _turn(parent):
        for abandoned in _abandoned(parent):
            shutil.rmtree(abandoned, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return Scratch(folder, lock)


def _abandoned(parent: Path) -> Iterator[Path]:
    """The folders whose process has ended, however it ended: the system lets go of its locks."""
    for folder in parent.iterdir():
        if folder.is_dir() and not _held(folder / _LOCK):
            yield folder


def _held(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _turn(parent: Path) -> Iterator[None]:
    """One process at a time looks for abandoned folders and makes its own: one just made is not locked yet."""
    lock = os.open(parent / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
