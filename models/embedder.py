"""Texts in, vectors of length 1 out, on sentence-transformers.

The caller cuts its text into passages that `token_counter` says fit, and embeds them in batches; a search query
goes through the same engine with `query=True`. The model's own limit is held: the same weights with a longer limit
than they were trained with gave other vectors (cosine down to 0.62) and were slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batching import BatchSize
from models.errors import OutOfDeviceMemory, device_errors
from models.registry import ModelSpec

BATCH = 32
"""Texts per forward pass, until the device has no room for so many. sentence-transformers sorts by length
first, so that little is padding."""


class EmbeddingEngine:
    """An `Embedder` that holds one sentence-transformers model."""

    def __init__(self, folder: Path, spec: ModelSpec, *, device: str, threads: int) -> None:
        """Load from `folder` alone, never from the network. `device` is `cpu` or `cuda:N`.

        `threads` becomes torch's number of CPU threads, which is one for the whole process. Raises
        `OutOfDeviceMemory`, `DeviceFailed`.
        """
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a bar that moves in a log file says nothing
        torch.set_num_threads(threads)
        self.dimensions = spec.dimensions
        self.max_tokens = spec.max_tokens
        self._spec = spec
        self._batch = BatchSize(BATCH)
        with device_errors():
            self._model: Any = SentenceTransformer(str(folder), device=device, local_files_only=True)
        self._model.max_seq_length = spec.max_tokens

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Vectors of shape (n, dimensions), each of length 1, in the order of `texts`.

        Raises `OutOfDeviceMemory` if even one text at once is too much, or `DeviceFailed`.
        """
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        prefix = self._spec.query_prefix if query else self._spec.passage_prefix
        prefixed = [prefix + text for text in texts]
        while True:
            try:
                with device_errors():
                    return self._encode(prefixed)
            except OutOfDeviceMemory as error:
                self._batch.halve(min(self._batch.n, len(prefixed)), error)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(
            texts,
            batch_size=self._batch.n,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, dtype=np.float32)

    def close(self) -> None:
        """Let the model go; torch keeps the freed memory of a GPU for itself until it is told to empty its cache."""
        import torch

        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def token_counter(folder: Path) -> Callable[[str], int]:
    """A function that counts the tokens of a text as the model in `folder` sees it, without loading torch.

    It counts the tokens of the text alone: neither the two special tokens that the model adds to every text nor the
    model's `passage_prefix`, and it never cuts a text off. A passage is read whole by the model if its count, plus
    2, plus the count of the prefix, is at most `max_tokens`.
    """
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
