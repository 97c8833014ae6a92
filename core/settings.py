"""Every setting, its default and its unit, read from `SCRIBELANE_*` variables.

Only the composition roots read it (`service.app`, `service.cli`, `workers.runtime`, `workers.celery_app`,
`workers.doctor`); everything else is handed plain values.
"""

from __future__ import annotations

import os
import re
import socket
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import Misconfigured
from core.links import hosts_of
from core.subtitles import MAX_LINE_CHARS, MAX_LINES, MIN_LINE_CHARS

VISIBILITY_TIMEOUT_S = 900
"""A message that is not acknowledged for so long is delivered again; nothing renews it."""


RERANK_LIMIT_S = 20
"""Whatever is set: the query worker gives a search no more of its time."""

ComputeType = Literal[
    "", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
]  # fmt: skip
"""Those of CTranslate2; which of them a device has is looked at by the worker that uses it."""

_LONGEST_S = 10 * 365 * 86400.0


class Settings(BaseSettings):
    """What an operator can turn. Each field is the environment variable `SCRIBELANE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="SCRIBELANE_", frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: str = Field("", description="postgresql:// URL; PostgreSQL 18 with pgvector")
    broker_url: str = Field("", description="redis:// URL of a Valkey or Redis of Scribelane's own")
    blob_url: str = Field("", description="file://, s3://, gs:// or az:// URL for media")

    # What is accepted.
    tiers_file: Path | None = Field(None, description="TOML that goes over `core/tiers.toml`, line by line")
    pdf_max_pages: int = Field(5000, gt=0)
    input_memory_bytes: int = Field(2 * 1024**3, ge=256 * 1024**2, description="what opening one input may take")
    input_s: float = Field(480, gt=0, description="how long opening one input may take")
    input_step_s: float = Field(120, gt=0, description="of that, for one page or ten seconds of a recording")
    ocr_languages: str = Field("eng", pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$", description="as Tesseract names them")
    ocr_max_pages: int = Field(50, ge=0, description="of one PDF")
    ocr_page_s: float = Field(60, gt=0, description="how long Tesseract may take for a page")

    # What is fetched, where a URL is submitted.
    url_hosts: str = Field("", description="`example.org`, `.example.org` (subdomains), `*`; empty: YouTube alone")
    fetch_s: float = Field(300, gt=0, description="how long fetching one input may take")
    fetch_at_once: int = Field(1, ge=1, description="inputs that the processes of one io worker fetch at once")
    fetch_proxy: str = Field("", description="http:// or https:// URL that inputs are fetched through")

    # Models.
    whisper_model: str = Field("", description="default model; empty: `base` on a CPU, larger on a GPU")
    embedding_model: str = Field("", description="default model; empty: `all-MiniLM-L6-v2`")
    rerank_model: str = Field("", description="cross-encoder that re-ranks searches; empty: none")
    models_dir: Path | None = Field(None, description="folder with one folder of weights a model")
    cache_dir: Path = Field(Path.home() / ".cache" / "scribelane", description="where joined weights are kept")
    hub_download: bool = Field(True, description="fetch missing weights from the Hugging Face hub")
    model_ttl_s: float = Field(900, gt=0, description="an idle model is unloaded after this")
    model_budget_bytes: int = Field(0, ge=0, description="of models kept loaded; 0: half of a GPU, no limit on a CPU")
    compute_type: ComputeType = Field("", description="numbers that Whisper computes in; empty: the device's best")
    fake_speed: float = Field(100.0, ge=0, description="× real time of `model=fake`; 0 is instant")

    # How work is cut, leased and recovered.
    chunk_target_s: float = Field(10, gt=0, description="a chunk takes about so long to transcribe, once measured")
    chunk_audio_s: float = Field(60, ge=30, le=600, description="audio in one chunk, until its speed is measured")
    lease_s: float = Field(60, gt=0, description="a silent worker loses its chunk after this")
    heartbeat_s: float = Field(5, gt=0, description="leases and worker records are renewed this often")
    stall_s: float = Field(300, gt=0, description="a lease without progress for this long is not renewed")
    max_failures: int = Field(3, gt=0, description="tries of one chunk before its job fails")
    dispatch_s: float = Field(5, gt=0, description="Beat's dispatch tick")
    rescue_s: float = Field(15, gt=0, description="Beat's rescue tick")
    clean_s: float = Field(60, gt=0, description="how often what has expired is erased")
    usage_s: float = Field(600, gt=0, description="how often usage is reconciled, and ended months and days reported")
    sweep_s: float = Field(3600, gt=0, description="how often orphan blobs, old events and old speeds are looked for")
    orphan_s: float = Field(86400, gt=0, description="a blob of no job is erased after this; no upload takes longer")
    ledger_keep_months: int = Field(24, ge=2, description="events of closed months and daily reports are kept so long")
    backup_dir: Path | None = Field(None, description="where Beat makes a backup of each day (UTC); none without it")
    backup_keep: int = Field(7, gt=0, description="how many of these backups are kept, the newest")
    redispatch_s: float = Field(30, gt=0, description="a message not claimed in this time is sent again")
    soft_time_limit_s: int = Field(540, gt=0)
    time_limit_s: int = Field(600, gt=0)
    drain_s: float = Field(90, gt=0, description="a stopping worker may finish its chunk within this")

    # YouTube.
    youtube_cookies_file: Path | None = Field(None, description="cookies in Netscape's format; never written")
    youtube_rate_bytes_per_s: int = Field(0, ge=0, description="of one download; 0: no bound")
    youtube_retries: int = Field(5, ge=0, le=20, description="of a request, and of a download that broke off")

    # Search.
    query_timeout_s: float = Field(5.0, gt=0, description="how long a search waits for its query's vector")
    rerank_timeout_s: float = Field(5.0, gt=0, le=RERANK_LIMIT_S, description="how long it then waits to be re-ranked")

    # Transcripts as srt and vtt.
    subtitle_line_chars: int = Field(42, ge=MIN_LINE_CHARS, le=MAX_LINE_CHARS, description="columns in a line")
    subtitle_lines: int = Field(2, ge=1, le=MAX_LINES, description="lines shown at a time")
    subtitle_chars_per_s: float = Field(17, ge=5, le=100, description="reading speed: columns in a second")

    # What one worker is; `scribelane worker` sets these for the process that it starts.
    worker_id: str = ""
    queues: str = Field("", description="the Celery queues that this worker takes from, comma-separated")
    device: str = Field("cpu", description="`cpu` or `cuda:N`")
    cpu_workers: int = Field(0, ge=0, description="processes that infer on a CPU; 0: one a core, up to four")
    threads: int = Field(0, ge=0, description="inference threads of each; 0: the cores divided among them")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @property
    def worker_name(self) -> str:
        """What the ids of this worker's processes begin with."""
        return self.worker_id or socket.gethostname()

    @field_validator("blob_url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        url = urlsplit(value)
        if value and not url.scheme:
            raise ValueError("it needs a scheme, such as file:///var/lib/scribelane/blobs")
        if url.scheme == "file" and url.netloc not in ("", "localhost"):
            raise ValueError("a folder is named from the root, with three slashes: file:///var/lib/scribelane/blobs")
        return value

    @field_validator("url_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        hosts_of(value)
        return value

    @field_validator("fetch_proxy")
    @classmethod
    def _is_a_proxy(cls, value: str) -> str:
        if value and not (urlsplit(value).scheme in ("http", "https") and urlsplit(value).hostname):
            raise ValueError("it begins with http:// or https:// and names a host")
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_of_a_redis(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("redis", "rediss"):
            raise ValueError("it begins with redis:// or rediss://")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for name, value in self:
            if name.endswith("_s") and not name.endswith("_per_s") and not value <= _LONGEST_S:
                raise ValueError(f"{name} must be at most {_LONGEST_S:g} s, which is ten years")
        if self.lease_s < self.heartbeat_s * 3:
            raise ValueError(
                "lease_s must be at least three times heartbeat_s, so that a lease survives lost heartbeats"
            )
        if not self.soft_time_limit_s < self.time_limit_s < VISIBILITY_TIMEOUT_S:
            raise ValueError(
                f"soft_time_limit_s must be below time_limit_s, and that below {VISIBILITY_TIMEOUT_S}, "
                "after which the broker delivers a message again"
            )
        if self.fetch_s >= self.soft_time_limit_s:
            raise ValueError("fetch_s must be below soft_time_limit_s, in which what was fetched is stored as well")
        if self.input_s >= self.soft_time_limit_s:
            raise ValueError(
                "input_s must be below soft_time_limit_s, or a long input is stopped before its own time is up: "
                "lower input_s, or raise soft_time_limit_s and time_limit_s"
            )
        if self.stall_s >= self.soft_time_limit_s:
            raise ValueError("stall_s must be below soft_time_limit_s, or a stage that hangs is never taken for hung")
        return self

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


_MOVED = {
    "SCRIBELANE_RETENTION_DAYS": "retention_days",
    "SCRIBELANE_UPLOAD_MAX_BYTES": "upload_max_bytes",
    "SCRIBELANE_MEDIA_MAX_S": "media_max_s",
}
"""Former settings, and the line of a tier that each of them is now."""


_NO_SETTINGS = frozenset({
    *("URL", "API_KEY", "DATA_DIR"),  # of the client commands
    *("DATABASE_PASSWORD", "BROKER_PASSWORD", "FLOWER_PASSWORD"),  # of docker-compose.yml, from here on
    *("BIND", "PORT", "FLOWER_PORT", "GPU0", "GPU1", "WORKER_EXTRAS", "MODELS_FOLDER"),
    *("TEST_GPU", "BENCH_DATA"),  # of tests and benchmarks
})  # fmt: skip
"""What may stand behind `SCRIBELANE_` and is meant for somebody else."""

_OF_KUBERNETES = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)\w*)?)")
"""What it tells every pod of a Service whose name begins with `scribelane`."""


def unknown_variables() -> list[str]:
    """A sentence on each `SCRIBELANE_*` variable that sets nothing, such as one that is misspelt."""
    fields = {name.upper() for name in Settings.model_fields}
    prefix = "SCRIBELANE_"
    names = sorted(name.upper().removeprefix(prefix) for name in os.environ if name.upper().startswith(prefix))
    found = []
    for name in names:
        if name not in fields | _NO_SETTINGS and not _OF_KUBERNETES.fullmatch(name):
            close = get_close_matches(name, fields, n=1)
            meant = f"; is {prefix}{close[0]} meant?" if close else "."
            found.append(f"{prefix}{name} is no setting and changes nothing{meant}")
    return found


@cache
def settings() -> Settings:
    """The process's settings, read once. Raises `Misconfigured` for one that is a tier's now."""
    # Ignored, it would leave whoever set it with another limit than they believe.
    held = sorted(_MOVED.keys() & {name.upper() for name, value in os.environ.items() if value})
    if held:
        name = held[0]
        raise Misconfigured(
            f"{name} is no setting any more: each tier has its own limit. Unset it, and write the line {_MOVED[name]} "
            "under [tiers.free], [tiers.pro] and [tiers.enterprise] in the file that SCRIBELANE_TIERS_FILE names."
        )
    return Settings()
