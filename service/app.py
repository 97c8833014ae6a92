"""The composition root of the API: settings in, one FastAPI application out.

`scribelane api` runs it with uvicorn. It imports no engine, so it starts in a second or two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from core import links, tiers
from core.broker import make_celery
from core.content_key import DefaultModels
from core.dispatch import WORKER_SILENCE_BEATS, Bell, Dispatcher
from core.logs import configure_logging
from core.settings import Settings, settings
from core.store.blobs import Blobs
from core.store.session import Database
from core.store.turns import Promises
from core.subtitles import Layout
from models.registry import DEFAULT_EMBEDDING, default_whisper
from service import problems
from service.body_limit import BodyLimit
from service.deps import Service
from service.metrics import UpkeepMetrics
from service.rates import RateHeaders, Rates
from service.request_ids import RequestIds
from service.routes import batches, documents, health, jobs, metrics, reindex, search, transcriptions, usage, workers
from service.safe_headers import SafeHeaders

_DATABASE_CONNECTIONS = 30


class Api(FastAPI):
    """FastAPI, with what every answer carries, also one that no middleware sees: Starlette's to an unexpected error."""

    def build_middleware_stack(self) -> ASGIApp:
        """Called by Starlette with the first request."""
        return RequestIds(SafeHeaders(super().build_middleware_stack(), documentation=self.docs_url))


def create_app(own: Settings | None = None) -> FastAPI:
    """The API on the given settings, or on those of the environment."""
    own = own or settings()
    configure_logging(own.log_level)
    app = Api(
        title="Scribelane",
        version=version("scribelane"),
        summary="Recordings and PDFs in, text that can be read and searched out, on your own GPUs.",
        description="Submit a job, poll its `status_url`, fetch its transcript or passages, search over all of them.",
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.service = _open(own)
    app.add_middleware(BodyLimit, streamed_paths=("/v1/transcriptions", "/v1/documents", "/v1/batches"))
    app.add_middleware(RateHeaders)
    problems.install(app)
    for module in (transcriptions, documents, batches, jobs, search, reindex, usage, workers, health, metrics):
        app.include_router(module.router)
    return app


def _open(own: Settings) -> Service:
    database = Database(own.database_url, pool_size=_DATABASE_CONNECTIONS)
    celery = make_celery(own.broker_url)
    plans = tiers.load(own.tiers_file)
    worker_silence_s = own.heartbeat_s * WORKER_SILENCE_BEATS
    return Service(
        database=database,
        blobs=Blobs(own.blob_url),
        celery=celery,
        bell=Bell(Dispatcher(database, celery, Promises(own.redispatch_s, worker_silence_s, plans.max_waits_s()))),
        broker_url=own.broker_url,
        tiers=plans,
        rates=Rates(own.broker_url),
        upkeep_metrics=UpkeepMetrics(database),
        subtitles=Layout(
            line_chars=own.subtitle_line_chars,
            lines=own.subtitle_lines,
            chars_per_s=own.subtitle_chars_per_s,
        ),
        default_models=DefaultModels(
            # What an operator left to the devices is not known here; another release may choose otherwise.
            whisper=own.whisper_model or f"{default_whisper('cpu')} or {default_whisper('cuda')}",
            embedding=own.embedding_model or DEFAULT_EMBEDDING,
        ),
        url_hosts=links.hosts_of(own.url_hosts),
        query_timeout_s=own.query_timeout_s,
        rerank_timeout_s=own.rerank_timeout_s if own.rerank_model else None,
        worker_silence_s=worker_silence_s,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    service: Service = app.state.service
    service.bell.close()
    service.rates.close()
    service.upkeep_metrics.close()
    service.database.close()
