"""The real embedding model: vectors of length one, the model's own limit, and a count of tokens that predicts it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from models import weights
from models.batching import BatchSize
from models.embedder import EmbeddingEngine, token_counter
from models.errors import OutOfDeviceMemory
from models.registry import DEFAULT_EMBEDDING, ModelKind, find
from models.token_batches import CPU_TOKENS

SPEC = find(DEFAULT_EMBEDDING, ModelKind.EMBEDDING)
SENTENCES = [
    "The moon does most of the work, and the sun helps twice a month.",
    "A spring tide has nothing to do with the season of that name.",
    "Bread needs time, warmth and very little attention.",
    "The invoice of 12 March is due within 30 days; see clause 4.2(b).",
    "Die Flut kommt jeden Tag etwa fünfzig Minuten später.",
    "He castled too early and lost the exchange on move 23.",
    "Water at 20 °C weighs 998.2 kg/m³, less than most people expect.",
    "Please restart the worker before you raise the limit again.",
    "In the narrow bay the range is more than twelve metres.",
]


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
        assert engine.embed([text])[0] @ vector > 0.9999


def test_the_count_of_tokens_says_exactly_what_the_model_still_reads(engine: EmbeddingEngine, folder: Path) -> None:
    count = token_counter(folder)
    fits = "river " * (SPEC.max_tokens - 2)
    assert count("") == 0
    assert count("unbelievably") > 1
    assert count(fits) + 2 == SPEC.max_tokens
    whole, longer, shorter = engine.embed([fits, fits + "elephant", "elephant " + fits])
    assert whole @ longer > 0.9999
    assert whole @ shorter < 0.999


def test_vectors_are_those_of_the_library_whatever_is_embedded_together(engine: EmbeddingEngine, folder: Path) -> None:
    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    library.max_seq_length = SPEC.max_tokens
    texts = [*SENTENCES, "", "Tide.", "a b c", *(" ".join(SENTENCES[:n]) for n in (2, 5, 9)), "tide " * 400]
    expected = library.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    assert np.min(np.sum(engine.embed(texts) * expected, axis=1)) > 0.9999


def test_a_batch_holds_texts_of_about_one_length_and_no_more_tokens_than_it_may(
    engine: EmbeddingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = _watched(engine, monkeypatch)
    engine.embed(["word " * length for length in (200, 3, 200, 3, 200, 3) * 20])
    assert [len(batch) for batch in batches] == [5] * 12 + [60]
    assert {len(text) for batch in batches for text in batch} == {202, 5}
    assert all(sum(map(len, batch)) <= CPU_TOKENS for batch in batches)


def test_every_batch_is_told_of_and_what_that_raises_ends_it(engine: EmbeddingEngine) -> None:
    told: list[int] = []
    engine.embed(["word " * 200] * 12, on_batch=lambda: told.append(1))
    assert len(told) == 3

    def lost() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.embed(["word " * 200] * 12, on_batch=lost)


def test_a_batch_that_does_not_fit_is_halved_and_every_text_keeps_its_vector(
    engine: EmbeddingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [sentence * repeated for sentence in SENTENCES for repeated in (1, 5, 9)]
    expected = engine.embed(texts)
    batches = _watched(engine, monkeypatch, room=CPU_TOKENS // 4)
    monkeypatch.setattr(engine, "_batch_tokens", BatchSize(CPU_TOKENS))
    assert np.min(np.sum(engine.embed(texts) * expected, axis=1)) > 0.9999
    tried = [len(batch) * len(batch[0]) for batch in batches]
    assert CPU_TOKENS // 2 < tried[0] <= CPU_TOKENS
    assert sum(tokens > CPU_TOKENS // 4 for tokens in tried) == 2
    assert engine._batch_tokens.n <= CPU_TOKENS // 4


def test_one_text_that_has_no_room_is_the_callers_to_know(
    engine: EmbeddingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watched(engine, monkeypatch, room=5)
    monkeypatch.setattr(engine, "_batch_tokens", BatchSize(CPU_TOKENS))
    with pytest.raises(OutOfDeviceMemory, match="out of memory"):
        engine.embed(SENTENCES)


def _watched(engine: EmbeddingEngine, monkeypatch: pytest.MonkeyPatch, room: float = math.inf) -> list[list[list[int]]]:
    """The tokens of every batch from now on; more than `room` of them are too many for the device."""
    batches, infer = [], engine._infer

    def inferred(tokens: list[list[int]]) -> NDArray[np.float32]:
        batches.append(tokens)
        if len(tokens) * len(tokens[0]) > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return infer(tokens)

    monkeypatch.setattr(engine, "_infer", inferred)
    return batches
