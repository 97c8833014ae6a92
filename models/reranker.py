"""A query and texts in, how well each text answers out, on a cross-encoder of sentence-transformers.

An embedding model has read a passage before anybody asked; a cross-encoder reads it together with the query. That says
more and costs a forward pass a pair, so it is for the few best that a search has found. What goes through at once is
decided by `token_batches`, in which numbers by `half_precision`, as for `embedder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import half_precision
from models.errors import WeightsMismatch, device_errors
from models.on_device import give_back_memory, rectangle
from models.registry import ModelSpec
from models.token_batches import budget, in_batches

_LONGEST_PAIR = 8192
"""Tokens of a query and a passage, whatever an unregistered model says of itself: some say no limit."""


class RerankingEngine:
    """A `Reranker` that holds one cross-encoder."""

    def __init__(self, folder: Path, spec: ModelSpec, *, device: str, threads: int) -> None:
        """Load from `folder` alone, never from the network, and run no code of its own. `device` is `cpu` or `cuda:N`.

        `threads` becomes torch's number of CPU threads, which is one for the whole process. Raises `WeightsMismatch`
        for a model that is no cross-encoder of one score, `OutOfDeviceMemory`, `DeviceFailed`.
        """
        import torch
        from sentence_transformers import CrossEncoder
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a bar that moves in a log file says nothing
        torch.set_num_threads(threads)
        self._device = device
        self._dtype = half_precision.best(device)
        self._batch_tokens = budget(device)
        with device_errors():
            self._model: Any = CrossEncoder(str(folder), device=device, local_files_only=True)
            self._model.eval()
            _check_architecture(self._model, spec.name)
            half_precision.shorten(self._model, self._dtype)
        self.max_tokens = spec.max_tokens or min(self._model.max_seq_length, _LONGEST_PAIR)

    def scores(
        self, query: str, texts: Sequence[str], *, on_batch: Callable[[], object] | None = None
    ) -> NDArray[np.float32]:
        """One score a text, 0 to 1 (the sigmoid of what the model says), in their order; shape (n,).

        A pair that is longer than `max_tokens` loses the end of whichever of the two is longer. Raises
        `OutOfDeviceMemory` if even one pair at once is too much, `DeviceFailed`, or what `on_batch` raises.
        """
        found = np.zeros(len(texts), dtype=np.float32)
        if not texts:
            return found
        pairs = self._model.tokenizer(
            [query] * len(texts),
            list(texts),
            truncation="longest_first",
            max_length=self.max_tokens,
            padding=False,
        )
        kept = {name: pairs[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in pairs}

        def infer(batch: list[int]) -> None:
            found[batch] = self._infer({name: [rows[place] for place in batch] for name, rows in kept.items()})

        in_batches([len(ids) for ids in kept["input_ids"]], self._batch_tokens, infer, on_batch)
        return found

    def _infer(self, features: dict[str, list[list[int]]]) -> NDArray[np.float32]:
        """One forward pass; shape (n,). The first pair is the longest."""
        import torch

        filling = {"input_ids": self._model.tokenizer.pad_token_id}
        on_device = {name: rectangle(rows, filling.get(name, 0)).to(self._device) for name, rows in features.items()}
        with torch.inference_mode(), half_precision.computing(self._device, self._dtype):
            said = self._model(on_device)["scores"].float()
        scores: NDArray[np.float32] = torch.sigmoid(said).reshape(-1).cpu().numpy()
        return scores

    def close(self) -> None:
        """Let the model go, and its memory."""
        self._model = None
        give_back_memory()


def _check_architecture(model: Any, name: str) -> None:
    """A model that generates text, or gives several labels, is no re-ranker that is known here."""
    architectures = model.model.config.architectures or [""]
    if not architectures[0].endswith("ForSequenceClassification") or model.num_labels != 1:
        raise WeightsMismatch(
            f"{name} is no cross-encoder with one score: it is {architectures[0] or 'of no architecture'} "
            f"with {model.num_labels} labels"
        )
