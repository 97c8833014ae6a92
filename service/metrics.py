"""What `GET /metrics` shows Prometheus: what this process counts, and what the database knows of upkeep.

Each API process counts for itself and starts at zero. What is read from the database is the same from each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

import structlog
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from core.store import upkeep
from core.store.session import Database
from core.store.upkeep import Record

log = structlog.get_logger(__name__)

RATE_LIMIT_UNCHECKED = Counter(
    "scribelane_rate_limit_unchecked_total",
    "Requests that passed without being counted against their account's rate, because the broker did not answer.",
)

READ_WITHIN_S = 2.0
"""A scrape waits no longer for the database: what the process counts itself is wanted most when that hangs."""


class UpkeepMetrics(Collector):
    """Beat's chores as their last runs left them; nothing while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="upkeep-metrics")
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Read no more."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family a figure, one sample a chore."""
        records = self._records()
        runs = CounterMetricFamily("scribelane_upkeep_runs", "Runs of a chore that ended.", labels=["chore"])
        failures = CounterMetricFamily("scribelane_upkeep_failures", "Of these, those that failed.", labels=["chore"])
        items = CounterMetricFamily("scribelane_upkeep_items", "Removed, corrected or written.", labels=["chore"])
        duration_s = GaugeMetricFamily("scribelane_upkeep_duration_seconds", "Of the last run.", labels=["chore"])
        last = "When a chore last succeeded; absent until it has."
        success = GaugeMetricFamily("scribelane_upkeep_last_success_timestamp_seconds", last, labels=["chore"])
        for one in records:
            chore = [one.chore]
            runs.add_metric(chore, one.runs)
            failures.add_metric(chore, one.failures)
            items.add_metric(chore, one.items_total)
            duration_s.add_metric(chore, one.duration_s)
            if one.succeeded_at is not None:
                success.add_metric(chore, one.succeeded_at.timestamp())
        yield from (runs, failures, items, duration_s, success)

    def _records(self) -> list[Record]:
        reading = self._reader.submit(self._read)
        try:
            return reading.result(timeout=READ_WITHIN_S)
        except (SQLAlchemyError, NotInTime) as error:
            reading.cancel()
            log.warning("no figures of upkeep", error=str(error).split("\n")[0] or "the database hangs")
            return []

    def _read(self) -> list[Record]:
        with self._database.transaction() as connection:
            return upkeep.records(connection)
