"""Texts in, vectors of length 1 out, on sentence-transformers.

The caller cuts its text into passages that `token_counter` says fit, and hands over as many as it has; a search query
goes through the same engine with `query=True`. The model's own limit is held: the same weights with a longer limit
than they were trained with gave other vectors (cosine down to 0.62) and were slower. sentence-transformers knows what
a model is made of; which texts it sees at once (`token_batches`) and in which numbers (`half_precision`) is decided
here, because that is where the speed is: `benchmarks.embedding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import half_precision
from models.errors import device_errors
from models.on_device import give_back_memory, rectangle
from models.registry import ModelSpec
from models.token_batches import budget, in_batches


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
        self._device = device
        self._dtype = half_precision.best(device)
        self._batch_tokens = budget(device)
        with device_errors():
            self._model: Any = SentenceTransformer(str(folder), device=device, local_files_only=True)
            half_precision.shorten(self._model, self._dtype)

    def embed(
        self, texts: Sequence[str], *, query: bool = False, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        """Vectors of shape (n, dimensions), each of length 1, in the order of `texts`.

        Raises `OutOfDeviceMemory` if even one text at once is too much, `DeviceFailed`, or what `on_batch` raises.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        tokens = self._tokens(texts, query=query)

        def infer(batch: list[int]) -> None:
            vectors[batch] = self._infer([tokens[place] for place in batch])

        in_batches([len(ids) for ids in tokens], self._batch_tokens, infer, on_batch)
        return vectors

    def _tokens(self, texts: Sequence[str], *, query: bool) -> list[list[int]]:
        """What the model reads of each text: its tokens, the special ones included, up to the model's limit."""
        if not texts:
            return []
        prefix = self._spec.query_prefix if query else self._spec.passage_prefix
        encoded = self._model.tokenizer(
            [prefix + text for text in texts],
            truncation=True,
            max_length=self.max_tokens,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return list(encoded["input_ids"])

    def _infer(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One forward pass; shape (n, dimensions). The first text is the longest."""
        import torch

        features = {
            "input_ids": rectangle(tokens, self._model.tokenizer.pad_token_id),
            "attention_mask": rectangle([[1] * len(text) for text in tokens], 0),
        }
        on_device = {name: values.to(self._device) for name, values in features.items()}
        with torch.inference_mode(), half_precision.computing(self._device, self._dtype):
            pooled = self._model(on_device)["sentence_embedding"].float()
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors

    def close(self) -> None:
        """Let the model go, and its memory."""
        self._model = None
        give_back_memory()


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
