"""How fast recordings are transcribed, as measured chunk by chunk.

`transcribe` measures each chunk, `workers.runtime` keeps the figure here, `prepare` asks before it cuts, and
`core.store.estimates` says from it how long a job will take. Beat has old figures forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from core.lanes import Lane

_WEIGHT = 0.2
"""Of the newest chunk in the average: after ten chunks nine tenths of it are no older than they."""

FORGOTTEN_S = 86400
"""A device that has measured nothing for so long decides nothing any more; it may be gone."""

WHOLE_S = 30.0
"""A chunk with less speech weighs less: a window of Whisper takes as long however little is in it."""

SILENT_S = 60
"""A worker that was not heard of for so long works nothing."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One chunk: so many seconds of speech took so many to infer on a device, without loading the model."""

    device: str
    speech_s: float
    infer_s: float


def model_key(model: str | None) -> str:
    """The model as it is kept here; a job that names none is worked with the service's default."""
    return model or ""


_KEEP = sa.text("""
INSERT INTO speeds AS s (model, device, lane, speed) VALUES (:model, :device, :lane, :speed)
ON CONFLICT (model, device, lane) DO UPDATE
SET speed = s.speed + :weight * (excluded.speed - s.speed), n_chunks = s.n_chunks + 1, measured_at = now()
""")


def keep(connection: Connection, model: str | None, lane: Lane, measured: Measured) -> None:
    """Take a chunk into the average of its model (None: the service's default), device and lane."""
    if measured.infer_s <= 0 or measured.speech_s <= 0:
        return
    speed = measured.speech_s / measured.infer_s
    weight = _WEIGHT * min(1.0, measured.speech_s / WHOLE_S)
    connection.execute(
        _KEEP, {"model": model_key(model), "device": measured.device, "lane": lane, "speed": speed, "weight": weight}
    )


_SLOWEST = sa.text("""
SELECT min(speed) FROM speeds
WHERE model = :model AND lane = :lane AND measured_at > now() - make_interval(secs => :forgotten_s)
  AND NOT EXISTS (
      SELECT FROM workers w
      WHERE :lane = ANY (w.lanes) AND w.last_seen > now() - make_interval(secs => :silent_s)
        AND NOT EXISTS (
            SELECT FROM speeds s
            WHERE s.model = :model AND s.lane = :lane AND s.device = concat(w.host, '/', w.device)
              AND s.measured_at > now() - make_interval(secs => :forgotten_s)
        )
  )
""")


def slowest(connection: Connection, model: str | None, lane: Lane) -> float | None:
    """× real time of the slowest device that works this lane with this model; None until each one is measured.

    A device that joins has to measure first: cut for a fast one, a chunk could be more than it can ever finish.
    """
    values = {"model": model_key(model), "lane": lane, "forgotten_s": FORGOTTEN_S, "silent_s": SILENT_S}
    speed: float | None = connection.scalar(_SLOWEST, values)
    return speed


def forget_old(connection: Connection) -> int:
    """Delete the figures that decide nothing any more; returns how many. A device that comes back begins anew."""
    old = "DELETE FROM speeds WHERE measured_at < now() - make_interval(secs => :forgotten_s)"
    return connection.execute(sa.text(old), {"forgotten_s": FORGOTTEN_S}).rowcount
