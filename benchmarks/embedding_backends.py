"""Which backend embeds quickest on this CPU: torch, in float32 or what the engine takes, or ONNX Runtime.

    python -m benchmarks.embedding_backends

The same passages in the same batches (`models.token_batches`) go in turns through the engine, through the engine held
to float32, and through the same weights as an ONNX graph. That needs `pip install onnx onnxscript`, and is left out
without: sentence-transformers' own way to ONNX does not install beside its current version. A row has the middle of all
rounds, the least cosine to torch in float32, and the ratio to the engine. It goes to standard output and to
`benchmarks/results/embedding_backends.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.written_pages import passages
from models import half_precision
from models.embedder import EmbeddingEngine
from models.registry import DEFAULT_EMBEDDING, ModelKind, find
from models.token_batches import CPU_TOKENS, how_many, longest_first
from workers.engines import Weights

RESULTS = Path(__file__).parent / "results" / "embedding_backends.json"
SPEC = find(DEFAULT_EMBEDDING, ModelKind.EMBEDDING)
ENGINE, FLOAT32, ONNX = "scribelane, engine", "torch, float32", "ONNX Runtime, float32"
WORDS = (20, 200)

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Row:
    """One backend with so many threads; `to_engine` is the middle of the ratios within a round."""

    backend: str
    threads: int
    per_s: float
    cosine: float
    to_engine: float


def torch_engine(folder: Path, threads: int, *, float32: bool) -> EmbeddingEngine:
    """The engine, as it is or as it is on a CPU that has nothing shorter."""
    import torch

    if not float32:
        return EmbeddingEngine(folder, SPEC, device="cpu", threads=threads)
    with patch.object(half_precision, "best", lambda _device: torch.float32):
        return EmbeddingEngine(folder, SPEC, device="cpu", threads=threads)


def write_graph(folder: Path, target: Path) -> None:
    """The model and its mean pooling as an ONNX graph: token ids and mask, shape (n, width), to (n, dimensions)."""
    import torch
    from transformers import AutoModel

    model: Any = AutoModel.from_pretrained(str(folder), attn_implementation="eager").eval()
    forward = model.forward

    def pooled(ids: Any, mask: Any) -> Any:
        states = forward(input_ids=ids, attention_mask=mask).last_hidden_state
        counted = mask.unsqueeze(-1).float()
        return (states * counted).sum(1) / counted.sum(1)

    model.forward = pooled
    ids, mask = torch.full((2, 9), 100), torch.ones(2, 9, dtype=torch.long)
    mask[1, 5:] = 0
    free = {0: "n", 1: "width"}
    names = {"input_names": ["ids", "mask"], "output_names": ["vectors"]}
    torch.onnx.export(
        model,
        (ids, mask),
        str(target),
        **names,
        dynamic_axes={"ids": free, "mask": free, "vectors": {0: "n"}},
        dynamo=False,
    )


def onnx_runtime(graph: Path, tokenize: Any, threads: int) -> Embed:
    """The graph on ONNX Runtime, in the batches of the engine."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def embed(texts: Sequence[str]) -> Vectors:
        tokens = tokenize(list(texts), truncation=True, max_length=SPEC.max_tokens)["input_ids"]
        vectors = np.zeros((len(texts), SPEC.dimensions), dtype=np.float32)
        waiting = longest_first([len(ids) for ids in tokens])
        while waiting:
            width = len(tokens[waiting[0]])
            batch = waiting[: how_many(len(waiting), width, CPU_TOKENS)]
            del waiting[: len(batch)]
            ids, mask = np.zeros((2, len(batch), width), dtype=np.int64)
            for row, place in enumerate(batch):
                ids[row, : len(tokens[place])] = tokens[place]
                mask[row, : len(tokens[place])] = 1
            vectors[batch] = session.run(None, {"ids": ids, "mask": mask})[0]
        normal: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normal

    return embed


def measure(ways: dict[str, Embed], texts: Sequence[str], threads: int, rounds: int) -> list[Row]:
    """All backends in turns, after a round that only warms them up."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, Vectors] = {}
    for _ in range(rounds + 1):
        for name, embed in ways.items():
            began = time.perf_counter()
            vectors[name] = embed(texts)
            took[name].append(time.perf_counter() - began)
    times = {name: each[1:] for name, each in took.items()}
    return [
        Row(
            name,
            threads,
            per_s=len(texts) / statistics.median(each),
            cosine=float(np.min(np.sum(vectors[name] * vectors[FLOAT32], axis=1))),
            to_engine=statistics.median(theirs / ours for ours, theirs in zip(each, times[ENGINE], strict=True)),
        )
        for name, each in times.items()
    ]


def main() -> None:
    """Run, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--passages", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    rows: list[Row] = []
    print("| backend | threads | passages/s | cosine | to the engine |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        weights = Weights(None, Path(scratch), download=False)
        folder, ruler, graph = weights.locate(SPEC), weights.passage_ruler(SPEC.name), Path(scratch) / "model.onnx"
        texts = [one.text for one in passages(chosen.passages, WORDS, 0, (ruler.count, ruler.max_tokens))]
        if find_spec("onnx") and find_spec("onnxscript"):
            write_graph(folder, graph)
        for threads in chosen.threads:
            ways: dict[str, Embed] = {
                ENGINE: torch_engine(folder, threads, float32=False).embed,
                FLOAT32: torch_engine(folder, threads, float32=True).embed,
            }
            if graph.exists():
                from transformers import AutoTokenizer

                ways[ONNX] = onnx_runtime(graph, AutoTokenizer.from_pretrained(str(folder)), threads)
            for row in measure(ways, texts, threads, chosen.rounds):
                print(
                    f"| {row.backend} | {threads} | {row.per_s:.1f} | {row.cosine:.5f} | {row.to_engine:.2f} |",
                    flush=True,
                )
                rows.append(row)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
