"""Half precision where the device is quicker with it, and vectors that are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import half_precision, weights
from models.embedder import EmbeddingEngine
from models.registry import DEFAULT_EMBEDDING, ModelKind, find

SPEC = find(DEFAULT_EMBEDDING, ModelKind.EMBEDDING)
TEXTS = ["The moon raises the tide. " * n for n in (1, 4, 20, 60)] + ["", "Ebbe und Flut: 12,4 m; 20 °C."]


@pytest.mark.parametrize(
    ("able", "best"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_multiplies_in_bfloat16_if_it_has_instructions_for_it(
    able: dict[str, bool], best: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert half_precision.best("cpu") == best
    assert half_precision.best("cuda:0") == torch.float16


def test_vectors_in_bfloat16_are_those_of_float32_on_any_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = weights.locate(SPEC, models_dir=None, cache_dir=tmp_path, download=False)
    whole, short = (_engine(folder, dtype, monkeypatch) for dtype in (torch.float32, torch.bfloat16))
    assert _linear(whole) == {torch.float32}
    assert _linear(short) == {torch.bfloat16}
    vectors = short.embed(TEXTS)
    assert np.min(np.sum(vectors * whole.embed(TEXTS), axis=1)) > 0.9999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def _engine(folder: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> EmbeddingEngine:
    monkeypatch.setattr(half_precision, "best", lambda device: dtype)
    return EmbeddingEngine(folder, SPEC, device="cpu", threads=2)


def _linear(engine: EmbeddingEngine) -> set[torch.dtype]:
    return {layer.weight.dtype for layer in engine._model.modules() if isinstance(layer, torch.nn.Linear)}
