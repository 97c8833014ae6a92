"""What both engines on sentence-transformers do with torch: make a rectangle of texts, and give its memory back.

`token_batches` says which texts go through a model together; `embedder` and `reranker` make tensors of them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rectangle(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    """The rows one under the other, shorter ones filled up; shape (n, length of the first, the longest)."""
    import torch

    width = len(rows[0])
    return torch.tensor([[*row, *[filling] * (width - len(row))] for row in rows])


def give_back_memory() -> None:
    """Torch keeps the freed memory of a GPU for itself until it is told to empty its cache."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
