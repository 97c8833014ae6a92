"""The registry answers by name and kind, and pins every file of every real model."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from models.errors import UnknownModel
from models.registry import DEFAULT_EMBEDDING, MODELS, ModelKind, ModelSpec, default_whisper, find


def test_an_unknown_name_is_answered_with_the_known_names() -> None:
    with pytest.raises(UnknownModel, match=r"'gigantic'; known: tiny.en, base, "):
        find("gigantic", ModelKind.WHISPER)


def test_a_name_belongs_to_its_kind() -> None:
    with pytest.raises(UnknownModel):
        find(DEFAULT_EMBEDDING, ModelKind.WHISPER)
    assert find("fake", ModelKind.WHISPER).kind is ModelKind.WHISPER
    assert find("fake", ModelKind.EMBEDDING).kind is ModelKind.EMBEDDING


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_every_default_is_registered(device: str) -> None:
    assert not find(default_whisper(device), ModelKind.WHISPER).fake
    assert not find(DEFAULT_EMBEDDING, ModelKind.EMBEDDING).fake


@pytest.mark.parametrize("found", [spec for spec in MODELS if not spec.fake], ids=lambda spec: str(spec.name))
def test_a_real_model_is_pinned_to_a_commit_and_to_the_bytes_of_its_files(found: ModelSpec) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", found.revision)
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in found.files.values())
    assert {"tokenizer.json", "config.json"} <= set(found.files)
    assert not found.wheel or set(found.wheel) == set(found.files)
    assert (found.kind is ModelKind.EMBEDDING) == (found.dimensions > 0)
    assert (found.kind is ModelKind.WHISPER) == (found.max_tokens == 0)


def test_names_are_unique_within_a_kind() -> None:
    keys = [(spec.name, spec.kind) for spec in MODELS]
    assert len(keys) == len(set(keys))


def test_the_registry_loads_no_engine() -> None:
    heavy = "{'torch', 'numpy', 'faster_whisper', 'ctranslate2', 'onnxruntime', 'sentence_transformers', 'tokenizers'}"
    code = f"import sys, models.registry; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
