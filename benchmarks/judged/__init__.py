"""A judged set of the project's own: documents, recordings, and questions with the place that answers each.

`documents/*.txt` are pages parted by form feeds; a short line that ends no sentence is a heading. `recordings/*.txt`
are what is said, a chapter after each line with `#`; their times are those of somebody who reads aloud.
All of it was written for this purpose, about subjects that share words: tides and harbours, ovens and hives, bicycles.
`benchmarks.search_quality` measures with it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.details import Chapter, Heading
from core.passages import Page, TimedText

_HERE = Path(__file__).parent
_CHARS_PER_S = 14.0  # a calm reader
_PAUSE_S = 0.4  # after each sentence
_PARAGRAPH_PAUSE_S = 1.2


@dataclass(frozen=True, slots=True)
class Document:
    """Pages, and the outline that a PDF of them would have."""

    name: str
    pages: tuple[Page, ...]
    outline: tuple[Heading, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """What is said in it, sentence by sentence."""

    name: str
    segments: tuple[TimedText, ...]
    chapters: tuple[Chapter, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """`phrase` stands in every passage of `source` that answers. `words`: "same" as in the text, "some" of them, or
    "other" ones."""

    ask: str
    words: str
    source: str
    phrase: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The whole set."""

    documents: tuple[Document, ...]
    recordings: tuple[Recording, ...]
    questions: tuple[Question, ...]


def load() -> Judged:
    """The set as it is committed."""
    with (_HERE / "questions.toml").open("rb") as file:
        questions = tuple(Question(**question) for question in tomllib.load(file)["question"])
    return Judged(
        tuple(_document(path) for path in sorted((_HERE / "documents").glob("*.txt"))),
        tuple(_recording(path) for path in sorted((_HERE / "recordings").glob("*.txt"))),
        questions,
    )


def is_right(hit_text: str, source_name: str, question: Question) -> bool:
    """Whether a hit answers the question. A suffix of the source's name (`.pdf`, `.ogg`) does not matter."""
    said = " ".join(hit_text.split()).casefold()
    return Path(source_name).stem == question.source and question.phrase.casefold() in said


def _document(path: Path) -> Document:
    texts = path.read_text(encoding="utf-8").split("\f")
    pages = tuple(Page(number, text) for number, text in enumerate(texts, 1))
    return Document(path.stem, pages, tuple(heading for page in pages for heading in _headings(page)))


def _headings(page: Page) -> Iterator[Heading]:
    for line in page.text.splitlines():
        if line and not line.endswith("."):
            yield Heading(line, page.number, 1)


def _recording(path: Path) -> Recording:
    at_s = 0.0
    segments: list[TimedText] = []
    begun: list[tuple[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            begun.append((line[2:], at_s))
            continue
        for sentence in re.split(r"(?<=[.?!]) +", line):
            end_s = at_s + len(sentence) / _CHARS_PER_S
            segments.append(TimedText(at_s, end_s, sentence))
            at_s = end_s + _PAUSE_S
        at_s += _PARAGRAPH_PAUSE_S - _PAUSE_S
    ends = [start_s for _, start_s in begun[1:]] + [at_s]
    chapters = (Chapter(title, start_s, end_s) for (title, start_s), end_s in zip(begun, ends, strict=True))
    return Recording(path.stem, tuple(segments), tuple(chapters))
