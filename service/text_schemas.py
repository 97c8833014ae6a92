"""The JSON that the API answers of text: transcripts, passages, and what a search finds. Times are seconds.

`service.schemas` has jobs and all else; `service.formats` makes both.
"""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from core.job import JobKind
from core.search import SearchMode


class WordOut(BaseModel):
    """One word of a segment: inside it, and none begins before the one before it ends."""

    start: float
    end: float
    text: str
    probability: float = Field(description="How sure Whisper was of it, 0 to 1.")


class SegmentOut(BaseModel):
    """A stretch of speech, in seconds on the media clock."""

    start: float
    end: float
    text: str
    avg_logprob: float | None = Field(description="Mean log probability of its tokens; below -1 it is doubtful.")
    compression_ratio: float | None = Field(description="Of its text by zlib; above 2.4 it probably repeats itself.")
    no_speech_prob: float | None = Field(description="The probability that nobody speaks there, 0 to 1.")
    temperature: float | None = Field(description="At which it was decoded; 0 unless that failed.")
    words: list[WordOut] | None = Field(None, description="With `word_timestamps` only.")


class TranscriptOut(BaseModel):
    """A transcript. `partial`: the job has not completed, this is what is done so far."""

    language: str | None
    language_probability: float | None = Field(
        description="How much of the speech, 0 to 1, was heard as that language; 1 if it was named."
    )
    duration_s: float | None
    partial: bool
    text: str
    segments: list[SegmentOut]


class CitationOut(BaseModel):
    """Where a passage stands: pages, or seconds. What is not known, or does not apply, is left out."""

    page_from: int | None = None
    page_to: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    label: str = Field("", description="For people: `p. 3`, `pp. iii–iv` as they are printed, `00:41`.")
    section: str | None = Field(None, description="The chapter or the heading that it stands under.")
    speaker: str | None = None
    url: str | None = Field(None, description="Where to see or hear it, if it came from a URL.")


class PassageOut(BaseModel):
    """A searchable piece of text."""

    id: int
    text: str
    citation: CitationOut
    page_label: str | None = Field(None, description="The page as it is printed, such as `iii`.")
    char_start: int | None = Field(None, description="Its place in the whole text, in characters.")
    char_end: int | None = None
    section: str | None = Field(None, description="The chapter or heading that it stands under.")
    speaker: str | None = None
    model: str | None = None
    vector: list[float] | None = None


class PassageList(BaseModel):
    """A page of passages in the order of the text."""

    data: list[PassageOut]
    next_cursor: str | None


class SearchWarningOut(BaseModel):
    """Why the answer may be less than what was asked for."""

    code: str
    message: str


class ScoresOut(BaseModel):
    """What each part of a search says of a passage; null where it was not asked."""

    semantic: float | None = Field(description="Cosine similarity of the passage and the query, at most 1.")
    keyword: float | None = Field(description="Share of the query's words that it holds, by how rare they are.")
    rerank: float | None = Field(None, description="Of the cross-encoder, 0 to 1; left out where it has not read it.")


class HitOut(BaseModel):
    """A passage found. `score`, at most 1, is that of the mode: of a hybrid search how high both halves rank it.

    Hits with `scores.rerank` stand first, in its order.
    """

    job_id: UUID
    kind: JobKind
    name: str
    text: str
    highlights: list[tuple[int, int]] = Field(description="Spans of `text` that are words of the query.")
    score: float
    scores: ScoresOut
    citation: CitationOut


class SearchOut(BaseModel):
    """The best hits first. `mode` is the one that was used: `keyword` where no worker could read the query in time."""

    mode: SearchMode
    hits: list[HitOut]
    warnings: list[SearchWarningOut]
