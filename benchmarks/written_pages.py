"""Text for benchmarks that embed: paragraphs of the project's own words, no two alike, and PDFs of them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

from fpdf import FPDF

from core.packing import CountTokens
from core.passages import Page, Passage, from_pages

_ROOT = Path(__file__).parents[1]
_SOURCES = ("examples/recording.txt", "examples/document.md", "docs/architecture.md", "docs/reliability.md")
_WORD = re.compile(r"(?<![\w/.`])[A-Za-z]?[a-z]+(?![\w/.`(])")
_SENTENCE_WORDS = (6, 24)


def paragraphs(words: tuple[int, int], seed: int) -> Iterator[str]:
    """Paragraphs of sentences without end, each of so many words, from and to; the same for the same seed."""
    chance = random.Random(seed)
    known = [word.lower() for name in _SOURCES for word in _WORD.findall((_ROOT / name).read_text(encoding="utf-8"))]
    for _ in count():
        left, sentences = chance.randint(*words), []
        while left > 0:
            n = min(left, chance.randint(*_SENTENCE_WORDS))
            sentences.append(" ".join(chance.choices(known, k=n)).capitalize() + ".")
            left -= n
        yield " ".join(sentences)


def passages(n: int, words: tuple[int, int], seed: int, ruler: tuple[CountTokens, int]) -> list[Passage]:
    """`n` passages as the prepare stage cuts them by a model's ruler (count, most tokens); a paragraph on each page."""
    found: list[Passage] = []
    written = paragraphs(words, seed)
    while len(found) < n:
        found = from_pages([Page(number, text) for number, text in enumerate(islice(written, 2 * n), 1)], *ruler)
    return found[:n]


def write_pdf(pages: Sequence[str], target: Path) -> Path:
    """A PDF with one page for each text."""
    pdf = FPDF()
    pdf.set_font("Helvetica", size=11)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(target))
    return target
