"""A long PDF through a whole service for `benchmarks.embedding`: how long each part of the way takes a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.loaded_service import LoadedService, loaded_service
from benchmarks.written_pages import paragraphs, write_pdf

_TOOK = """
SELECT extract(epoch FROM j.finished_at - j.created_at)::float AS whole_s,
       extract(epoch FROM min(p.finished_at) - j.created_at)::float AS prepare_s,
       extract(epoch FROM max(e.finished_at) - min(e.started_at))::float AS embed_s,
       sum((e.output ->> 'passages')::int) AS passages,
       sum((e.output ->> 'computed')::int) AS computed
FROM jobs j
JOIN chunks p ON p.job_id = j.id AND p.stage = 'prepare'
JOIN chunks e ON e.job_id = j.id AND e.stage = 'embed'
WHERE j.id = :job GROUP BY j.id
"""
_WORDS = (150, 250)


@dataclass(frozen=True, slots=True)
class Document:
    """What a document took, from the submit to the end, and how many of its passages were computed."""

    name: str
    passages: int
    computed: int
    whole_s: float
    prepare_s: float
    embed_s: float


def through_the_service(n_pages: int, device: str, folder: Path) -> list[Document]:
    """A PDF of so many pages, and a second edition with one more; models are loaded before, by another document."""
    pages, other = (list(islice(paragraphs(_WORDS, seed), n_pages + 1)) for seed in (11, 12))
    seen = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    with loaded_service(["user"], SCRIBELANE_CPU_WORKERS="0", **seen) as service:  # as many as a user has
        _through(service, "", other, folder)
        first = _through(service, f"{n_pages} pages", pages[:n_pages], folder)
        return [first, _through(service, "second edition, a page more", pages, folder)]


def _through(service: LoadedService, name: str, pages: Sequence[str], folder: Path) -> Document:
    client = service.clients["user"]
    job = client.wait(client.embed(write_pdf(pages, folder / "document.pdf")).id)
    if job.status != "completed":
        raise SystemExit(f"the job has {job.status}: {job.error}")
    (took,) = service.rows(_TOOK, job=job.id)
    return Document(name, took.passages, took.computed, took.whole_s, took.prepare_s, took.embed_s)


def documents_table(documents: Sequence[Document]) -> str:
    """The documents as Markdown."""
    lines = [
        "| document | passages | computed | whole (s) | prepare (s) | embed (s) | passages/s, embed |",
        "|" + "---|" * 7,
    ]
    lines += [
        f"| {one.name} | {one.passages} | {one.computed} | {one.whole_s:.1f} | {one.prepare_s:.1f} | {one.embed_s:.1f} "
        f"| {one.passages / one.embed_s:.0f} |"
        for one in documents
    ]
    return "\n".join(lines)
