"""What a worker loads, where, in which numbers, and how much of the device it may take."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from models import devices
from models.devices import Memory
from models.errors import WeightsMismatch
from models.fake import FakeEmbedder
from models.registry import ModelKind, find
from workers.engines import Loader, Weights, as_seen, budget_bytes, check_dimensions

WHISPER, EMBEDDING = ModelKind.WHISPER, ModelKind.EMBEDDING


def loader(tmp_path: Path, compute_type: str = "") -> Loader:
    return Loader(Weights(None, tmp_path, download=False), "cpu", 1, 0, compute_type)


@pytest.mark.parametrize(("device", "seen"), [("cpu", "cpu"), ("cuda:0", "cuda:0"), ("cuda:3", "cuda:0")])
def test_a_worker_sees_its_own_gpu_as_the_first(device: str, seen: str) -> None:
    assert as_seen(device) == seen


def test_a_model_takes_what_its_files_are_long_and_twice_that_in_float32(tmp_path: Path) -> None:
    folder = loader(tmp_path).weights.locate(find("tiny.en", WHISPER))
    stored = sum(path.stat().st_size for path in folder.iterdir() if path.name in find("tiny.en", WHISPER).files)

    assert loader(tmp_path).size_bytes("tiny.en", WHISPER) == stored > 70_000_000
    assert loader(tmp_path, "float32").size_bytes("tiny.en", WHISPER) == 2 * stored
    assert 85_000_000 < loader(tmp_path, "float32").size_bytes("all-MiniLM-L6-v2", EMBEDDING) < 100_000_000
    assert loader(tmp_path).size_bytes("fake", EMBEDDING) == 0


def test_loaded_models_may_take_what_is_asked_else_half_of_a_gpu_and_anything_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert math.isinf(budget_bytes("cpu", 0))
    monkeypatch.setattr(devices, "memory", lambda device: Memory(8_000, 1_000))

    assert budget_bytes("cuda:0", 0) == 4_000
    assert budget_bytes("cuda:0", 123) == 123


def test_weights_whose_vectors_are_of_another_length_than_the_registry_says_are_refused() -> None:
    check_dimensions(FakeEmbedder(384), find("all-MiniLM-L6-v2", EMBEDDING))

    with pytest.raises(WeightsMismatch, match=r"of 384 dimensions, and the registry says 1024"):
        check_dimensions(FakeEmbedder(384), find("bge-m3", EMBEDDING))
