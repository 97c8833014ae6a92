"""The engine that re-ranks: the scores of the library, within the model's limit, whatever is read together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from models import half_precision
from models.errors import OutOfDeviceMemory, WeightsMismatch
from models.registry import reranker
from models.reranker import RerankingEngine
from models.token_batches import CPU_TOKENS, budget
from tests import cross_encoder

SPEC = reranker("tiny")
QUERY = "Why does the sea rise and fall?"
TEXTS = [
    "The moon does most of the work, and the sun helps twice a month.",
    "A spring tide has nothing to do with the season of that name.",
    "Bread needs time, warmth and very little attention.",
    "The invoice of 12 March is due within 30 days; see clause 4.2(b).",
    "Die Flut kommt jeden Tag etwa fünfzig Minuten später.",
    "He castled too early and lost the exchange on move 23.",
    "",
    "Tide.",
    "word " * 400,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder.write(tmp_path_factory.mktemp("models") / "tiny", tmp_path_factory.mktemp("weights"))


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RerankingEngine:
    """In float32, which the library is compared in."""
    monkeypatch.setattr(half_precision, "best", lambda device: torch.float32)
    return RerankingEngine(folder, SPEC, device="cpu", threads=1)


def test_scores_and_their_order_are_those_of_the_library(engine: RerankingEngine, folder: Path) -> None:
    library = CrossEncoder(str(folder), device="cpu", local_files_only=True, max_length=cross_encoder.MAX_TOKENS)
    expected = library.predict([(QUERY, text) for text in TEXTS], show_progress_bar=False)

    found = engine.scores(QUERY, TEXTS)

    assert found.shape == (len(TEXTS),)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.argsort(found).tolist() == np.argsort(expected).tolist()
    assert np.ptp(found) > 0.05  # else the order would say nothing
    assert 0 <= found.min() <= found.max() <= 1


def test_a_pair_is_scored_the_same_alone_and_among_others(engine: RerankingEngine) -> None:
    together = engine.scores(QUERY, TEXTS)
    alone = np.concatenate([engine.scores(QUERY, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert engine.scores(QUERY, []).shape == (0,)


def test_the_models_own_limit_is_held_for_the_query_and_the_text_together(engine: RerankingEngine) -> None:
    assert engine.max_tokens == cross_encoder.MAX_TOKENS
    longest = "sea " * 2000
    scores = engine.scores(longest, ["word " * 2000, "word " * 2000 + "elephant"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_positions_that_a_model_keeps_for_padding_are_not_read(tmp_path: Path) -> None:
    folder = cross_encoder.write(tmp_path / "roberta", tmp_path / "weights", roberta=True)
    engine = RerankingEngine(folder, reranker("roberta"), device="cpu", threads=1)

    assert engine.max_tokens == cross_encoder.MAX_TOKENS
    assert engine.scores(QUERY, ["word " * 100]).shape == (1,)


def test_a_model_that_cannot_read_what_its_files_say_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    folder = cross_encoder.write(tmp_path / "one", tmp_path / "weights", segments=1)  # and its tokenizer numbers two
    with pytest.raises(WeightsMismatch, match=f"one cannot read {cross_encoder.MAX_TOKENS} tokens"):
        RerankingEngine(folder, reranker("one"), device="cpu", threads=1)


def test_half_precision_leaves_the_scores_about_as_they_are(
    engine: RerankingEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.scores(QUERY, TEXTS)
    monkeypatch.setattr(half_precision, "best", lambda device: torch.bfloat16)
    shortened = RerankingEngine(folder, SPEC, device="cpu", threads=1).scores(QUERY, TEXTS)
    np.testing.assert_allclose(shortened, expected, atol=0.05)
    assert shortened.dtype == np.float32


def test_every_batch_is_told_of_and_what_that_raises_ends_it(engine: RerankingEngine) -> None:
    told: list[int] = []
    engine.scores(QUERY, ["word " * 400] * 20, on_batch=lambda: told.append(1))
    assert len(told) == -(-20 * cross_encoder.MAX_TOKENS // CPU_TOKENS)

    def lost() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.scores(QUERY, TEXTS, on_batch=lost)


def test_a_batch_that_does_not_fit_is_halved_and_every_text_keeps_its_score(
    engine: RerankingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.scores(QUERY, TEXTS * 5)
    batches = _watched(engine, monkeypatch, room=CPU_TOKENS // 4)
    monkeypatch.setattr(engine, "_batch_tokens", budget("cpu"))

    np.testing.assert_allclose(engine.scores(QUERY, TEXTS * 5), expected, atol=1e-5)

    assert batches[0] > CPU_TOKENS // 2
    assert sum(tokens > CPU_TOKENS // 4 for tokens in batches) == 2


def test_one_pair_that_has_no_room_is_the_callers_to_know(
    engine: RerankingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watched(engine, monkeypatch, room=5)
    with pytest.raises(OutOfDeviceMemory, match="out of memory"):
        engine.scores(QUERY, TEXTS)


def test_a_model_of_several_labels_is_refused(tmp_path: Path) -> None:
    folder = cross_encoder.write(tmp_path / "three", tmp_path / "weights", labels=3)
    with pytest.raises(WeightsMismatch, match=r"three is no cross-encoder with one score: .* with 3 labels"):
        RerankingEngine(folder, reranker("three"), device="cpu", threads=1)


def _watched(engine: RerankingEngine, monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """The tokens of every batch from now on; more than `room` of them are too many for the device."""
    batches: list[int] = []
    infer = engine._infer

    def inferred(features: dict[str, list[list[int]]]) -> NDArray[np.float32]:
        ids = features["input_ids"]
        batches.append(len(ids) * len(ids[0]))
        if batches[-1] > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return infer(features)

    monkeypatch.setattr(engine, "_infer", inferred)
    return batches
