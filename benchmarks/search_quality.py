"""Is the right passage found first? What `core.passages.PAGES` and `SPOKEN` were chosen by.

    python -m benchmarks.search_quality

The judged set (`benchmarks.judged`) is cut into passages in several ways, each embedded with the default model, and
each question is compared with all passages exactly (cosine). A row of the table says how many questions have a right
passage first and among the first three, and the mean reciprocal rank. It goes to standard output and to
`benchmarks/results/search_quality.json`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import judged
from benchmarks.judged import Judged, Question
from benchmarks.right_first import Row, measured
from core.passages import PAGES, SPOKEN, PageCut, Passage, SpokenCut, from_pages, from_segments
from models import registry
from models.embedder import EmbeddingEngine
from models.registry import ModelKind
from workers.engines import Weights

MODEL = "all-MiniLM-L6-v2"
THREADS = 2
RESULTS = Path(__file__).parent / "results" / "search_quality.json"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to cut."""

    pages: PageCut = PAGES
    spoken: SpokenCut = SPOKEN
    outlined: bool = False
    """Most PDFs have no outline, and with one the headings decide more than the limits do."""

    def __str__(self) -> str:
        pages, spoken = self.pages, self.spoken
        outline = " with outline" if self.outlined else ""
        return (
            f"documents{outline}: full {pages.full:.0%}, complete {pages.complete * 100:g}%, "
            f"overlap {pages.overlap:.0%}; "
            f"recordings: complete {spoken.complete_s:.0f} s, overlap {spoken.overlap:.0%}"
        )


@dataclass(frozen=True, slots=True)
class Tried:
    """What one way to cut gives: so many passages, and how often the right one is first."""

    passages: int
    row: Row


WAYS = (
    Way(),
    Way(outlined=True),
    *(Way(replace(PAGES, overlap=overlap)) for overlap in (0.0, 0.3)),
    *(Way(replace(PAGES, full=full)) for full in (0.25, 0.35, 0.5, 0.75, 1.0)),
    *(Way(replace(PAGES, complete=complete)) for complete in (0.125, 0.25, 0.5, 1.0)),
    *(Way(spoken=replace(SPOKEN, overlap=overlap)) for overlap in (0.0, 0.3)),
    *(Way(spoken=replace(SPOKEN, complete_s=complete_s)) for complete_s in (5.0, 10.0, 15.0, 20.0)),
)


def passages(everything: Judged, weights: Weights, way: Way, model: str = MODEL) -> Iterator[tuple[str, Passage]]:
    """All passages of the set, each with the name of its source."""
    ruler = weights.passage_ruler(model)
    for document in everything.documents:
        cut = from_pages(
            document.pages,
            ruler.count,
            ruler.max_tokens,
            outline=document.outline if way.outlined else (),
            cut=way.pages,
        )
        yield from ((document.name, passage) for passage in cut)
    for recording in everything.recordings:
        cut = from_segments(
            recording.segments, ruler.count, ruler.max_tokens, chapters=recording.chapters, cut=way.spoken
        )
        yield from ((recording.name, passage) for passage in cut)


def ranks(engine: EmbeddingEngine, found: Sequence[tuple[str, Passage]], questions: Sequence[Question]) -> list[int]:
    """The rank, from 1, of the first right passage of each question. Raises ValueError if none is right."""
    vectors = engine.embed([passage.text for _, passage in found])
    asked = engine.embed([question.ask for question in questions], query=True)
    answer = []
    for question, order in zip(questions, np.argsort(-(asked @ vectors.T), axis=1, kind="stable"), strict=True):
        right = (judged.is_right(found[at][1].text, found[at][0], question) for at in order)
        rank = next((rank for rank, is_right in enumerate(right, 1) if is_right), None)
        if rank is None:
            raise ValueError(f"no passage holds {question.phrase!r} of {question.source}")
        answer.append(rank)
    return answer


def main() -> None:
    everything = judged.load()
    weights = Weights(None, Path(tempfile.gettempdir()) / "scribelane-weights", download=False)
    spec = registry.find(MODEL, ModelKind.EMBEDDING)
    engine = EmbeddingEngine(weights.locate(spec), spec, device="cpu", threads=THREADS)
    rows = []
    print(f"{len(everything.questions)} questions, {MODEL}, semantic search\n")
    print("| cut | passages | right first | in first 3 | MRR | same words | some | other |")
    print("|---|---|---|---|---|---|---|---|")
    for way in dict.fromkeys(WAYS):
        found = list(passages(everything, weights, way))
        at = ranks(engine, found, everything.questions)
        row = measured(str(way), list(zip(everything.questions, at, strict=True)))
        rows.append(Tried(len(found), row))
        print(f"| {way} | {len(found)} | {row} |", flush=True)
    engine.close()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
