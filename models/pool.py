"""The engines that are loaded in this process, shared by its threads and let go when nobody needs them.

A worker borrows an engine for the length of one chunk. Look-up and reference count change together under one lock:
between the two, an idle timer could otherwise unload the engine that was just looked up, and load it twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, overload

from models.engine import Embedder, Engine, Transcriber
from models.registry import ModelKind


@dataclass(slots=True)
class _Entry:
    """One model: loaded, being loaded (its lock is held) or failed to load (`engine` None)."""

    loading: threading.Lock = field(default_factory=threading.Lock)
    engine: Engine | None = None
    users: int = 0
    released_at: float = 0.0


class Pool:
    """Loads each model at most once and counts who uses it."""

    def __init__(
        self, load: Callable[[str, ModelKind], Engine], idle_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`load` makes an engine; an engine unused for `idle_s` seconds is what `unload_idle` lets go."""
        self._load = load
        self._idle_s = idle_s
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, ModelKind], _Entry] = {}
        self._closed = False

    @overload
    def use(self, name: str, kind: Literal[ModelKind.WHISPER]) -> AbstractContextManager[Transcriber]: ...
    @overload
    def use(self, name: str, kind: Literal[ModelKind.EMBEDDING]) -> AbstractContextManager[Embedder]: ...
    @overload
    def use(self, name: str, kind: ModelKind) -> AbstractContextManager[Engine]: ...
    def use(self, name: str, kind: ModelKind) -> AbstractContextManager[Engine]:
        """Borrow an engine for a `with` block, loading it first where needed. Whatever `load` raises comes through."""
        return self._borrow((name, kind))

    def unload_idle(self) -> list[str]:
        """Close the engines that nobody has used for `idle_s` seconds; their names."""
        with self._lock:
            now = self._clock()
            return self._unload(lambda entry: now - entry.released_at >= self._idle_s)

    def loaded(self) -> list[str]:
        """Names of the models that are loaded now, in order of the alphabet."""
        with self._lock:
            return sorted({name for (name, _), entry in self._entries.items() if entry.engine})

    def close(self) -> None:
        """Close every engine, those in use as soon as they are given back; nothing can be borrowed afterwards."""
        with self._lock:
            self._closed = True
            self._unload(lambda entry: True)

    @contextmanager
    def _borrow(self, key: tuple[str, ModelKind]) -> Iterator[Engine]:
        entry = self._take(key)
        try:
            yield self._ready(key, entry)
        finally:
            self._give_back(key, entry)

    def _take(self, key: tuple[str, ModelKind]) -> _Entry:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
            return entry

    def _ready(self, key: tuple[str, ModelKind], entry: _Entry) -> Engine:
        """The entry's engine. The first thread loads it; others of the same model wait, other models do not."""
        with entry.loading:
            if entry.engine is None:
                entry.engine = self._load(*key)
            return entry.engine

    def _give_back(self, key: tuple[str, ModelKind], entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            entry.released_at = self._clock()
            if entry.users == 0 and entry.engine is None:
                del self._entries[key]
            elif self._closed:
                self._unload(lambda _: True)

    def _unload(self, chosen: Callable[[_Entry], bool]) -> list[str]:
        """Close what is chosen and unused. The lock is held throughout, so nobody loads a second copy meanwhile."""
        keys = [key for key, entry in self._entries.items() if entry.users == 0 and chosen(entry)]
        for key in keys:
            if engine := self._entries.pop(key).engine:
                engine.close()
        return [name for name, _ in keys]
