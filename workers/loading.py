"""A model that is loaded beside the work: nobody waits for it, and what cannot be loaded stops nothing.

The query worker's re-ranker is one (`reranking`). It may have to be downloaded first, gigabytes of it, and a search
without it is still an answer. `runtime` begins to load it when the worker has started; who finds it not there, because
that failed or because the pool let it go, begins anew.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import structlog

from models.pool import Pool
from models.registry import ModelKind

log = structlog.get_logger(__name__)

AGAIN_S = 60.0
"""From one try to the next: a folder that was mended is found, and a broken one is not read at every search."""


class Reranker:
    """The re-ranker of a worker, once it is loaded."""

    def __init__(self, pool: Pool, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self._pool = pool
        self._clock = clock
        self._loading = False
        self._not_before = -math.inf

    def ready(self) -> bool:
        """Whether it can be used at once. If not, it is being loaded from now on, unless it was tried just now.

        Asked by one thread, the one that answers queries.
        """
        if self._loading:
            return False
        if self.model in self._pool.loaded():
            return True
        if self._clock() >= self._not_before:
            self._loading = True
            threading.Thread(target=self._load, name="load re-ranker", daemon=True).start()
        return False

    def _load(self) -> None:
        try:
            self._warm()
        except Exception:  # of a folder of one's own the libraries raise what they like
            log.exception(
                "the re-ranker cannot be loaded; searches answer without it. Mend its files (`scribelane doctor` says "
                "where they are looked for), or unset SCRIBELANE_RERANK_MODEL",
                model=self.model,
                tried_again_after_s=AGAIN_S,
            )
        else:
            log.info("re-ranker ready", model=self.model)

    def _warm(self) -> None:
        try:
            with self._pool.use(self.model, ModelKind.RERANKER) as engine:
                engine.scores("warm", ["warm"])
        finally:
            self._not_before = self._clock() + AGAIN_S
            self._loading = False
