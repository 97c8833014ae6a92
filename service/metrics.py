"""What the API counts about itself, for Prometheus; `GET /metrics` shows it.

Each API process counts for itself and starts at zero.
"""

from __future__ import annotations

from prometheus_client import Counter

RATE_LIMIT_UNCHECKED = Counter(
    "scribelane_rate_limit_unchecked_total",
    "Requests that passed without being counted against their account's rate, because the broker did not answer.",
)
