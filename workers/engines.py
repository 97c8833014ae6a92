"""From a model's name to a loaded engine: the one place where this service's settings meet `models`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.settings import Settings
from models import registry, weights
from models.engine import Engine
from models.fake import FakeEmbedder, FakeTranscriber
from models.registry import ModelKind, ModelSpec

_SPECIAL_TOKENS = 2  # a model's own start and end mark


def make_loader(settings: Settings) -> Callable[[str, ModelKind], Engine]:
    """What the pool calls to load a model on this worker's device."""

    def load(name: str, kind: ModelKind) -> Engine:
        spec = registry.find(name, kind)
        if spec.fake:
            return FakeTranscriber(settings.fake_speed) if kind is ModelKind.WHISPER else FakeEmbedder()
        folder = locate(settings, spec)
        # The worker sees its own GPU only (`service.processes` pins it), so whichever it is, here it is the first.
        device = "cuda:0" if settings.device.startswith("cuda") else "cpu"
        threads = settings.threads or os.cpu_count() or 1
        if kind is ModelKind.WHISPER:
            return _whisper(folder, device, threads)
        return _embedder(folder, spec, device, threads)

    return load


def locate(settings: Settings, spec: ModelSpec) -> Path:
    """The folder of a model's verified weights."""
    return weights.locate(
        spec,
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir / "models",
        download=settings.hub_download,
    )


def _whisper(folder: Path, device: str, threads: int) -> Engine:
    from models.whisper import WhisperEngine

    return WhisperEngine(folder, device=device, threads=threads)


def _embedder(folder: Path, spec: ModelSpec, device: str, threads: int) -> Engine:
    from models.embedder import EmbeddingEngine

    return EmbeddingEngine(folder, spec, device=device, threads=threads)


@dataclass(frozen=True, slots=True)
class PassageRuler:
    """What a passage may take: at most `max_tokens`, as `count` counts them."""

    count: Callable[[str], int]
    max_tokens: int


def passage_ruler(settings: Settings, model: str) -> PassageRuler:
    """The ruler of an embedding model: its limit less what it puts around a text. Needs no torch."""
    spec = registry.find(model, ModelKind.EMBEDDING)
    if spec.fake:
        return PassageRuler(lambda text: len(text.split()), spec.max_tokens - _SPECIAL_TOKENS)
    count = _tokenizer(locate(settings, spec))
    return PassageRuler(count, spec.max_tokens - _SPECIAL_TOKENS - count(spec.passage_prefix))


@cache
def _tokenizer(folder: Path) -> Callable[[str], int]:
    from models.embedder import token_counter as count_with

    return count_with(folder)
