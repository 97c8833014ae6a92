"""The engines that are loaded in this process, shared by its threads and let go when nobody needs them.

A worker borrows an engine for the length of one chunk. Look-up and reference count change together under one lock:
between the two, an idle timer could otherwise unload the engine that was just looked up, and load it twice.

Models stay loaded beside each other within a budget. Before a load that would exceed it, idle ones go, the least
recently used first; so do all of them where the device has no room after all, and the load is tried once more. The
budget bounds what is kept, not what is needed: a model that a chunk asks for is loaded even if it is larger than the
budget, or if the others are in use, because who waited for them might hold what they wait for. Whatever is over the
budget goes as soon as it is idle, all but the model that was used last.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, overload

from models import cold_start
from models.engine import Embedder, Engine, Reranker, Transcriber
from models.errors import OutOfDeviceMemory
from models.registry import ModelKind

Key = tuple[str, ModelKind]


def _unknown(name: str, kind: ModelKind) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Budget:
    """How much memory the loaded models may take, and how much each takes, known before it is loaded."""

    total_bytes: float = math.inf
    size_bytes: Callable[[str, ModelKind], int] = _unknown


@dataclass(slots=True)
class _Entry:
    """One model: loaded, being loaded (its lock is held) or failed to load (`engine` None)."""

    loading: threading.Lock = field(default_factory=threading.Lock)
    engine: Engine | None = None
    size_bytes: int = 0
    users: int = 0
    released_at: float = 0.0


class Pool:
    """Loads each model at most once and counts who uses it."""

    def __init__(
        self,
        load: Callable[[str, ModelKind], Engine],
        idle_s: float,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`load` makes an engine; an engine unused for `idle_s` seconds is what `unload_idle` lets go."""
        self._load = load
        self._idle_s = idle_s
        self._budget = budget or Budget()
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Key, _Entry] = {}  # in the order in which they were last given back
        self._closed = False

    @overload
    def use(self, name: str, kind: Literal[ModelKind.WHISPER]) -> AbstractContextManager[Transcriber]: ...
    @overload
    def use(self, name: str, kind: Literal[ModelKind.EMBEDDING]) -> AbstractContextManager[Embedder]: ...
    @overload
    def use(self, name: str, kind: Literal[ModelKind.RERANKER]) -> AbstractContextManager[Reranker]: ...
    @overload
    def use(self, name: str, kind: ModelKind) -> AbstractContextManager[Engine]: ...
    def use(self, name: str, kind: ModelKind) -> AbstractContextManager[Engine]:
        """Borrow an engine for a `with` block, loading it first where needed. Whatever `load` raises comes through.

        What a load keeps the caller waiting is told to `cold_start`.
        """
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
    def _borrow(self, key: Key) -> Iterator[Engine]:
        entry = self._take(key)
        try:
            yield self._ready(key, entry)
        finally:
            self._give_back(key, entry)

    def _take(self, key: Key) -> _Entry:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
            return entry

    def _ready(self, key: Key, entry: _Entry) -> Engine:
        """The entry's engine. The first thread loads it; others of the same model wait, other models do not."""
        if entry.engine is not None:  # nothing takes it away from a user
            return entry.engine
        with cold_start.waiting(), entry.loading:
            if entry.engine is None:
                entry.engine = self._loaded(key, entry)
            return entry.engine

    def _loaded(self, key: Key, entry: _Entry) -> Engine:
        size_bytes = self._budget.size_bytes(*key)
        with self._lock:
            entry.size_bytes = size_bytes  # counts from now on: two models may be loaded at once
            self._make_room()
        try:
            return self._load(*key)
        except OutOfDeviceMemory:
            with self._lock:
                if not self._unload(lambda entry: True):
                    raise
        return self._load(*key)

    def _give_back(self, key: Key, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            entry.released_at = self._clock()
            if entry.users == 0 and entry.engine is None:
                del self._entries[key]
                return
            self._entries[key] = self._entries.pop(key)
            if self._closed:
                self._unload(lambda _: True)
            self._make_room(kept=entry)

    def _make_room(self, kept: _Entry | None = None) -> None:
        """Close idle engines, the least recently used first, until the rest fits; all but `kept`."""
        for key, entry in list(self._entries.items()):
            if sum(each.size_bytes for each in self._entries.values()) <= self._budget.total_bytes:
                return
            if entry.users == 0 and entry is not kept:
                self._close(key)

    def _unload(self, chosen: Callable[[_Entry], bool]) -> list[str]:
        """Close what is chosen and unused. The lock is held throughout, so nobody loads a second copy meanwhile."""
        keys = [key for key, entry in self._entries.items() if entry.users == 0 and chosen(entry)]
        for key in keys:
            self._close(key)
        return [name for name, _ in keys]

    def _close(self, key: Key) -> None:
        if engine := self._entries.pop(key).engine:
            engine.close()
