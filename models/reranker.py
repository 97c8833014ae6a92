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
        for a model that is no cross-encoder of one score, or cannot read what it says it can, `OutOfDeviceMemory`,
        `DeviceFailed`.
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
        self.max_tokens = spec.max_tokens or _limit(self._model)
        if not spec.max_tokens:
            self._try_longest(spec.name)

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

    def _try_longest(self, name: str) -> None:
        """Read one pair that is too long: a model whose files contradict each other fails here, and not in a search."""
        try:
            self.scores("long", ["long " * self.max_tokens])
        except IndexError as error:
            self.close()
            raise WeightsMismatch(f"{name} cannot read {self.max_tokens} tokens, as its files say: {error}") from error

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


def _limit(model: Any) -> int:
    """The longest pair that a model reads, by its own files.

    The library's limit is the number of positions. RoBERTa and its kin keep the first ones: those up to the number of
    the padding token stand for padding, so that many and one fewer can be read.
    """
    from torch.nn import Embedding

    limit: int = min(model.max_seq_length, _LONGEST_PAIR)
    for name, part in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, Embedding):
            kept = 0 if part.padding_idx is None else part.padding_idx + 1
            limit = min(limit, part.num_embeddings - kept)
    return limit


def _check_architecture(model: Any, name: str) -> None:
    """A model that generates text, gives several labels or takes no batch is no re-ranker that is known here."""
    architectures = model.model.config.architectures or [""]
    if not architectures[0].endswith("ForSequenceClassification") or model.num_labels != 1:
        raise WeightsMismatch(
            f"{name} is no cross-encoder with one score: it is {architectures[0] or 'of no architecture'} "
            f"with {model.num_labels} labels"
        )
    if model.tokenizer.pad_token_id is None:
        raise WeightsMismatch(f"the tokenizer of {name} has no padding token")
