"""What the service answers, as `service.client` hands it to its callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as the service reports it; `eta_s` is None until measured, `raw` is the whole answer.

    `stage_percent` is how much of the input is there, while it is fetched. `reused_from`
    is its own id in the answer to a submit of what it had done before.
    """

    id: str
    kind: str
    status: str
    stage: str
    name: str
    chunks_done: int
    chunks_total: int | None
    percent: int
    eta_s: float | None
    warnings: Sequence[Mapping[str, Any]]
    error: Mapping[str, Any] | None
    created_at: str
    raw: Mapping[str, Any]
    reused_from: str | None = None
    stage_percent: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in _ENDED


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A batch as the service reports it. Items say `index`, `file`, `status`, `job_id` and `error`."""

    id: str
    status: str
    request_counts: Mapping[str, int]
    items: Sequence[Mapping[str, Any]]
    raw: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in _ENDED


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, with the pages or the seconds where it stands."""

    job_id: str
    kind: str
    name: str
    text: str
    score: float
    citation: Mapping[str, Any]
    highlights: Sequence[Sequence[int]] = ()
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of a search, best first, by which mode they were found, and what there is to say of that."""

    hits: list[Hit]
    mode: str
    warnings: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Quota:
    """Seconds of audio, or pages, in this period; a limit or a remainder of None is unlimited."""

    limit: float | None
    granted: float
    used: float
    reserved: float
    remaining: float | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has used and has left from `period_start` to `period_end`; `raw` is the whole answer."""

    tier: str
    period_start: str
    period_end: str
    audio_s: Quota
    pages: Quota
    raw: Mapping[str, Any]


def job_of(raw: Mapping[str, Any]) -> JobStatus:
    """A job from its JSON."""
    progress = raw["progress"]
    return JobStatus(
        id=raw["id"],
        kind=raw["kind"],
        status=raw["status"],
        stage=raw["stage"],
        name=raw["input"]["name"],
        chunks_done=progress["chunks_done"],
        chunks_total=progress["chunks_total"],
        percent=progress["percent"],
        eta_s=raw["eta_s"],
        warnings=raw["warnings"],
        error=raw["error"],
        created_at=raw["created_at"],
        raw=raw,
        reused_from=raw.get("reused_from"),
        stage_percent=progress.get("stage_percent"),
    )


def batch_of(raw: Mapping[str, Any]) -> BatchStatus:
    """A batch from its JSON."""
    return BatchStatus(raw["id"], raw["status"], raw["request_counts"], raw["items"], raw)


def hit_of(raw: Mapping[str, Any]) -> Hit:
    """A hit of a search from its JSON."""
    return Hit(**{name: raw[name] for name in Hit.__slots__})


def found_of(raw: Mapping[str, Any]) -> Found:
    """The answer to a search from its JSON."""
    return Found([hit_of(hit) for hit in raw["hits"]], raw["mode"], raw["warnings"])


def usage_of(raw: Mapping[str, Any]) -> Usage:
    """An account's usage from its JSON."""
    quotas = {unit: Quota(**{name: raw[unit][name] for name in Quota.__slots__}) for unit in ("audio_s", "pages")}
    return Usage(raw["tier"], raw["period"]["start"], raw["period"]["end"], **quotas, raw=raw)
