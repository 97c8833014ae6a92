"""The real embedding model: vectors of length one, the model's own limit, and a count of tokens that predicts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import weights
from models.batching import BatchSize
from models.embedder import BATCH, EmbeddingEngine, token_counter
from models.registry import DEFAULT_EMBEDDING, ModelKind, find

SPEC = find(DEFAULT_EMBEDDING, ModelKind.EMBEDDING)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights.locate(SPEC, models_dir=None, cache_dir=tmp_path_factory.mktemp("weights"), download=False)


@pytest.fixture(scope="module")
def engine(folder: Path) -> EmbeddingEngine:
    return EmbeddingEngine(folder, SPEC, device="cpu", threads=2)


def test_vectors_have_length_one_and_the_length_that_the_registry_says(engine: EmbeddingEngine) -> None:
    vectors = engine.embed(["The tide is high.", "", "Bread is baked in an oven."])
    assert vectors.shape == (3, SPEC.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert engine.embed([]).shape == (0, SPEC.dimensions)


def test_a_question_is_nearer_to_its_answer_than_to_anything_else(engine: EmbeddingEngine) -> None:
    passages = engine.embed(["The moon's gravity raises the tide.", "Bread is baked in an oven.", "He plays chess."])
    question = engine.embed(["Why does the sea rise and fall?"], query=True)[0]
    assert np.argmax(passages @ question) == 0


def test_the_order_of_texts_is_kept_whatever_their_length(engine: EmbeddingEngine) -> None:
    texts = ["word " * length for length in (90, 1, 40, 3, 200)]
    together = engine.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(engine.embed([text])[0], vector, atol=1e-4)


def test_the_count_of_tokens_says_exactly_what_the_model_still_reads(engine: EmbeddingEngine, folder: Path) -> None:
    count = token_counter(folder)
    fits = "river " * (SPEC.max_tokens - 2)
    assert count("") == 0
    assert count("unbelievably") > 1
    assert count(fits) + 2 == SPEC.max_tokens
    whole, longer, shorter = engine.embed([fits, fits + "elephant", "elephant " + fits])
    np.testing.assert_allclose(whole, longer, atol=1e-5)
    assert whole @ shorter < 0.999


def test_a_batch_that_does_not_fit_is_halved_and_every_text_keeps_its_vector(
    engine: EmbeddingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["The tide is high.", "Bread is baked.", "He plays chess."] * BATCH
    expected, encode, tried = engine.embed(texts), engine._model.encode, []

    def full(texts: list[str], *, batch_size: int, **how: Any) -> Any:
        tried.append(batch_size)
        if batch_size > BATCH // 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return encode(texts, batch_size=batch_size, **how)

    monkeypatch.setattr(engine._model, "encode", full)
    monkeypatch.setattr(engine, "_batch", BatchSize(BATCH))
    np.testing.assert_allclose(engine.embed(texts), expected, atol=1e-5)
    assert tried == [BATCH, BATCH // 2, BATCH // 4]
