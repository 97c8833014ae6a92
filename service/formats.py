"""From what is stored to what is shown."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence, Set
from dataclasses import asdict
from typing import Any
from uuid import UUID

from core import citations
from core.details import DocumentDetails, MediaDetails
from core.errors import InvalidRequest, SearchUnavailable
from core.job import JobKind, JobStatus
from core.passages import Passage
from core.search import RERANK_UNAVAILABLE, SearchMode, spans_of
from core.store.batches import Batch, Refused
from core.store.estimates import Estimate
from core.store.jobs import Job
from core.store.passages import StoredPassage
from core.transcript import HeardLanguage, TranscriptSegment, language_probability, plain_text, spoken_language
from service.schemas import (
    BatchErrorOut,
    BatchItemOut,
    BatchOut,
    ChapterOut,
    ErrorOut,
    HeadingOut,
    InputOut,
    JobOut,
    ProgressOut,
    RequestCounts,
    UsageOut,
    WarningOut,
)
from service.searching import Answer, Ranked
from service.text_schemas import (
    CitationOut,
    HitOut,
    PassageOut,
    ScoresOut,
    SearchOut,
    SearchWarningOut,
    SegmentOut,
    TranscriptOut,
    WordOut,
)


def job_out(job: Job, estimate: Estimate, base_url: str, *, reused_from: UUID | None = None) -> JobOut:
    """A job for its owner, with what may be expected of it; `base_url` ends with a slash."""
    url = f"{base_url}v1/jobs/{job.id}"
    urls = {"self": url, "cancel": f"{url}/cancel", "retry": f"{url}/retry"}
    if job.kind is not JobKind.REINDEX:
        urls["passages"] = f"{url}/passages"
    if job.kind is JobKind.TRANSCRIPTION:
        urls["transcript"] = f"{url}/transcript"
    return JobOut(
        id=job.id,
        batch_id=job.batch_id,
        reused_from=reused_from,
        kind=job.kind,
        status=job.status,
        stage=job.stage,
        lane=job.lane,
        tier=job.tier,
        status_url=url,
        progress=ProgressOut(
            chunks_done=job.chunks_done,
            chunks_total=job.chunks_total,
            percent=percent(job),
            stage_percent=job.stage_percent,
        ),
        queue_position=estimate.queue_position,
        eta_s=None if estimate.eta_s is None else round(estimate.eta_s, 1),
        input=_input_out(job),
        options=job.options.model_dump(),
        metadata=dict(job.metadata),
        usage=UsageOut(
            audio_s=job.duration_s,
            pages=job.pages,
            compute_s=round(job.compute_s, 3),
            cold_start_s=round(job.cold_start_s, 3),
        ),
        warnings=[WarningOut(**asdict(warning)) for warning in job.warnings],
        error=_error_out(job),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        urls=urls,
    )


def _input_out(job: Job) -> InputOut:
    said = job.details
    media = said if isinstance(said, MediaDetails) else MediaDetails()
    outline = said.outline if isinstance(said, DocumentDetails) else ()
    return InputOut(
        type=job.input.type,
        name=job.input.name,
        url=job.input.url,
        duration_s=job.duration_s,
        pages=job.pages,
        title=said.title,
        channel=media.channel,
        video_id=media.video_id,
        thumbnail_url=media.thumbnail_url,
        chapters=[ChapterOut(**asdict(chapter)) for chapter in media.chapters],
        outline=[HeadingOut(**asdict(heading)) for heading in outline],
    )


def batch_out(batch: Batch, base_url: str) -> BatchOut:
    """A batch for its owner; `base_url` ends with a slash."""
    url = f"{base_url}v1/batches/{batch.id}"
    items = [*(_refused_out(one) for one in batch.refused), *(_item_out(job, base_url) for job in batch.jobs)]
    return BatchOut(
        id=batch.id,
        status=batch.status,
        lane=batch.lane,
        status_url=url,
        request_counts=RequestCounts(
            total=batch.total,
            refused=len(batch.refused),
            erased=batch.erased,
            **{status.value: batch.counts[status] for status in JobStatus},
        ),
        items=sorted(items, key=lambda item: item.index),
        created_at=batch.created_at,
        cancelled_at=batch.cancelled_at,
        expires_at=batch.expires_at,
        urls={"self": url, "cancel": f"{url}/cancel"},
    )


def _refused_out(item: Refused) -> BatchItemOut:
    error = BatchErrorOut(code=item.code, message=item.message)
    return BatchItemOut(index=item.index, file=item.name, status="refused", job_id=None, status_url=None, error=error)


def _item_out(job: Job, base_url: str) -> BatchItemOut:
    return BatchItemOut(
        index=job.batch_index or 0,
        file=job.input.name,
        status=job.status,
        job_id=job.id,
        status_url=f"{base_url}v1/jobs/{job.id}",
        error=None if job.error is None else BatchErrorOut(code=job.error.code, message=job.error.message),
    )


def percent(job: Job) -> int:
    """How much is done, 0 to 100; 100 only when the job is completed."""
    if job.status is JobStatus.COMPLETED:
        return 100
    return min(99, 100 * job.chunks_done // job.chunks_total) if job.chunks_total else 0


def _error_out(job: Job) -> ErrorOut | None:
    if job.error is None:
        return None
    return ErrorOut(
        code=job.error.code,
        message=job.error.message,
        retryable=job.error.retryable,
        stage=job.error.stage,
    )


def transcript_out(job: Job, heard: Sequence[HeardLanguage], segments: list[TranscriptSegment]) -> TranscriptOut:
    """A transcript as JSON."""
    probability = language_probability(heard)
    return TranscriptOut(
        language=spoken_language(heard),
        language_probability=None if probability is None else round(probability, 3),
        duration_s=job.duration_s,
        partial=job.status is not JobStatus.COMPLETED,
        text=plain_text(segments),
        segments=[_segment_out(segment) for segment in segments],
    )


def _segment_out(segment: TranscriptSegment) -> SegmentOut:
    words = [WordOut(start=w.start_s, end=w.end_s, text=w.text, probability=w.probability) for w in segment.words]
    return SegmentOut(
        start=segment.start_s,
        end=segment.end_s,
        text=segment.text,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        temperature=segment.temperature,
        words=words or None,
    )


_PLACES = ("page_label", "char_start", "char_end", "section", "speaker")


def passage_out(stored: StoredPassage) -> PassageOut:
    """A passage as JSON, with its vector if it has been read."""
    passage = stored.passage
    known = {name: value for name in _PLACES if (value := getattr(passage, name)) is not None}
    if stored.vector is not None:
        known |= {"model": stored.model, "vector": stored.vector}
    return PassageOut(id=stored.id, text=passage.text, citation=citation_out(passage), **known)


def citation_out(passage: Passage, **known: str | None) -> CitationOut:
    """Pages for a document, seconds for a recording; of what else is `known` that which is not None."""
    where: dict[str, Any] = {"label": citations.label(passage)}
    if passage.page_from is not None:
        where |= {"page_from": passage.page_from, "page_to": passage.page_to}
    else:
        where |= {"start_s": passage.start_s, "end_s": passage.end_s}
    return CitationOut(**where, **{name: value for name, value in known.items() if value is not None})


def search_out(answer: Answer, asked: SearchMode) -> SearchOut:
    """What a search found, as JSON."""
    warnings = []
    if answer.mode is not asked:
        message = "No query worker answered in time: these passages were found by their words alone."
        warnings.append(SearchWarningOut(code=SearchUnavailable.code, message=message))
    if answer.rerank_failed:
        message = "No query worker re-ranked these passages in time: they stand in the order of the search alone."
        warnings.append(SearchWarningOut(code=RERANK_UNAVAILABLE, message=message))
    hits = [_hit_out(one, answer.matched) for one in answer.hits]
    return SearchOut(mode=answer.mode, hits=hits, warnings=warnings)


def _hit_out(ranked: Ranked, matched: Set[str]) -> HitOut:
    hit = ranked.hit
    reread = {} if ranked.rerank is None else {"rerank": round(ranked.rerank, 4)}
    video_id = hit.details.video_id if isinstance(hit.details, MediaDetails) else None
    return HitOut(
        job_id=hit.job_id,
        kind=hit.kind,
        name=hit.name,
        text=hit.passage.text,
        highlights=spans_of(hit.passage.text, matched),
        score=round(ranked.score, 4),
        scores=ScoresOut(semantic=_rounded(hit.semantic), keyword=_rounded(hit.keyword), **reread),
        citation=citation_out(
            hit.passage,
            section=hit.passage.section,
            speaker=hit.passage.speaker,
            url=citations.link(hit.passage, video_id=video_id, url=hit.url),
        ),
    )


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def to_cursor(*place: Any) -> str:
    """A place in a list as an opaque string."""
    return base64.urlsafe_b64encode(json.dumps(place, default=str).encode()).decode().rstrip("=")


def from_cursor(cursor: str, length: int) -> list[Any]:
    """The place again. Raises `InvalidRequest` for a cursor that this service did not make."""
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError, binascii.Error) as error:
        raise InvalidRequest("This cursor is not one that a list answered.") from error
    if not isinstance(place, list) or len(place) != length:
        raise InvalidRequest("This cursor is not one that a list answered.")
    return place
