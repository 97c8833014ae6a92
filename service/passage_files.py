"""A job's passages as files: JSON Lines and Parquet, streamed in bounded memory.

`GET /v1/jobs/{id}/passages` chooses. Passages are read page by page, each page in a transaction of its own: a client
that reads slowly, or not at all, holds no connection. A job that is erased meanwhile breaks the answer off.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.store import jobs, passages
from core.store.passages import StoredPassage
from core.store.session import Database
from service.formats import passage_out

PAGE = 1000
"""Passages of one transaction, and of one row group."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is written: all passages of a job, with the vectors of `model` and their dimensions, or without."""

    database: Database
    job_id: UUID
    account_id: UUID
    model: str | None = None
    dimensions: int = 0

    def pages(self) -> Iterator[Sequence[StoredPassage]]:
        """The passages in order. Raises `NotFound` if the job goes."""
        place: tuple[int, int] | None = (-1, -1)
        while place is not None:
            with self.database.transaction() as connection:
                jobs.get(connection, self.job_id, self.account_id)
                page, place = passages.passages_of(connection, self.job_id, model=self.model, after=place, limit=PAGE)
            yield page


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How passages are written, and the media type and the suffix of the file."""

    media_type: str
    suffix: str
    write: Callable[[Export], Iterator[bytes]]

    def headers(self, job_id: UUID) -> dict[str, str]:
        """A name that is made of the job's id alone."""
        return {"Content-Disposition": f'attachment; filename="passages-{job_id}.{self.suffix}"'}


def json_lines(export: Export) -> Iterator[bytes]:
    """A line for each passage, as the JSON answer has it; a piece for each page."""
    for page in export.pages():
        yield "".join(passage_out(one).model_dump_json(exclude_unset=True) + "\n" for one in page).encode()


def parquet(export: Export) -> Iterator[bytes]:
    """A file with a row group for each page. Vectors are fixed-size lists of float32, null where there is none."""
    import pyarrow as pa  # a third of a second, that the API is not to take when it starts
    import pyarrow.parquet as pq

    schema = pa.schema(_columns(export))
    written = _Pieces()
    with pq.ParquetWriter(written, schema) as writer:
        ordinal = 0
        for page in export.pages():
            rows = [_row(export, one, ordinal + n) for n, one in enumerate(page)]
            ordinal += len(rows)
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            yield written.take()
    yield written.take()


def _columns(export: Export) -> list[Any]:
    import pyarrow as pa

    texts, numbers = ("page_label", "section", "speaker"), ("page_from", "page_to", "char_start", "char_end")
    columns = [
        *(pa.field("id", pa.int64()), pa.field("job_id", pa.string()), pa.field("ordinal", pa.int64())),
        pa.field("text", pa.string()),
        *(pa.field(name, pa.int32()) for name in numbers),
        *(pa.field(name, pa.float64()) for name in ("start_s", "end_s")),
        *(pa.field(name, pa.string()) for name in texts),
    ]
    if export.model is None:
        return columns
    return [*columns, pa.field("model", pa.string()), pa.field("vector", pa.list_(pa.float32(), export.dimensions))]


def _row(export: Export, stored: StoredPassage, ordinal: int) -> dict[str, Any]:
    """A row of the file; `ordinal` counts the job's passages from 0."""
    passage = stored.passage
    columns = {name: getattr(passage, name) for name in passage.__slots__}
    whose = {"id": stored.id, "job_id": str(export.job_id), "ordinal": ordinal}
    return {**whose, **columns, "model": stored.model, "vector": stored.vector}


class _Pieces(io.RawIOBase):
    """A file that is handed on while it is written."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._waiting += piece
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


PASSAGE_FILES: Mapping[str, FileFormat] = {
    "jsonl": FileFormat("application/x-ndjson", "jsonl", json_lines),
    "parquet": FileFormat("application/vnd.apache.parquet", "parquet", parquet),
}
"""By the name in a request; `json` is not among them, which is no file but the model `PassageList`."""
