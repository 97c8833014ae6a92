"""How quick search is over many passages, and what the vector index costs of what it finds.

    python -m benchmarks.search [--passages 100000] [--accounts 4] [--queries 100]

Passages of made-up words (some frequent, most rare, as in real text) with clustered vectors are spread over accounts in
a real PostgreSQL: half of them in one account, the rest over the others. Each way of searching is asked the same
questions by the statements that the API uses. Recall is the share of the ten best that are among the ten found: of the
nearest by exact comparison, or of those that hold the most of the words where every passage with one is looked at. A
row for each way goes to standard output and to `benchmarks/results/search.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from benchmarks.bare_servers import BareServers, bare_servers
from core.job import JobKind
from core.search import CANDIDATES, fused, parse
from core.store import search, vector_indexes
from core.store.keywords import MOST_TERMS, keywords_of
from core.store.search import QueryVector, Scope, matching, nearest, read
from tests.integration import work

MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
CLUSTERS = 500
WORDS = 30_000
WORDS_A_PASSAGE = 60
BEST = 10
BLOCK = 2_000
RESULTS = Path(__file__).parent / "results" / "search.json"

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to search: its share of the exact answer (None where that means nothing), and how long it takes."""

    way: str
    recall_at_10: float | None
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was stored: for each account its job."""

    scopes: Sequence[Scope]
    jobs: Sequence[UUID]


class Maker:
    """Text and vectors, the same each time."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(7)
        self._centres = self._random.normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
        frequency = 1 / np.arange(1, WORDS + 1)
        self._frequency = frequency / frequency.sum()

    def texts(self, n: int) -> list[str]:
        """Words by Zipf's law."""
        drawn = self._random.choice(WORDS, size=(n, WORDS_A_PASSAGE), p=self._frequency)
        return [" ".join(f"word{at}" for at in passage) for passage in drawn]

    def vectors(self, n: int) -> Vectors:
        """Shape (n, dimensions), each of length 1, near one of the centres."""
        near = self._centres[self._random.integers(CLUSTERS, size=n)]
        made = near + 0.7 * self._random.normal(size=near.shape).astype(np.float32)
        unit: Vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        return unit


def filled(servers: BareServers, n_passages: int, n_accounts: int, maker: Maker) -> Corpus:
    """Accounts with one finished job each; the first has half of all passages."""
    shares = [n_passages // 2, *([n_passages // 2 // (n_accounts - 1)] * (n_accounts - 1))]
    scopes, jobs = [], []
    for number, n in enumerate(shares):
        account = work.open_account(servers.database, f"account-{number}")
        job_id = work.submit(servers.database, account, JobKind.DOCUMENT)
        work.finish(servers.database, job_id)
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            _store(servers, account.id, job_id, first, (maker.texts(size), maker.vectors(size)))
        scopes.append(Scope(account.id))
        jobs.append(job_id)
    return Corpus(scopes, jobs)


def _store(servers: BareServers, account: UUID, job: UUID, first: int, made: tuple[list[str], Vectors]) -> None:
    texts, vectors = made
    with servers.database.transaction() as connection:
        connection.execute(
            sa.text("""
                WITH added AS (
                    INSERT INTO passages (job_id, account_id, chunk_ordinal, ordinal, text, page_from, page_to, stemmer)
                    SELECT :job, :account, 1000, :first + n, text, 1, 1, 'english'
                    FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS made (text, n)
                    RETURNING id, ordinal
                )
                INSERT INTO vectors (passage_id, model, account_id, vector)
                SELECT added.id, :model, :account, CAST(made.vector AS vector)
                FROM added JOIN unnest(CAST(:vectors AS text[])) WITH ORDINALITY AS made (vector, n)
                    ON added.ordinal = :first + made.n
            """),
            {
                "job": job,
                "account": account,
                "first": first,
                "texts": texts,
                "model": MODEL,
                "vectors": [json.dumps([round(float(one), 6) for one in vector]) for vector in vectors],
            },
        )


Ask = Callable[[Connection, Scope, str, QueryVector], Sequence[int]]


def semantic(connection: Connection, scope: Scope, query: str, vector: QueryVector) -> Sequence[int]:
    """The semantic half alone."""
    keywords = keywords_of(connection, scope.account_id, parse(query), weigh=False)
    return list(dict(nearest(connection, scope, vector, keywords, CANDIDATES)))[:BEST]


def keyword(connection: Connection, scope: Scope, query: str, vector: QueryVector) -> Sequence[int]:
    """The half by words alone."""
    keywords = keywords_of(connection, scope.account_id, parse(query))
    return list(dict(matching(connection, scope, keywords, CANDIDATES)))[:BEST]


def hybrid(connection: Connection, scope: Scope, query: str, vector: QueryVector) -> Sequence[int]:
    """Both halves, fused, and the hits read."""
    keywords = keywords_of(connection, scope.account_id, parse(query))
    halves = (
        nearest(connection, scope, vector, keywords, CANDIDATES),
        matching(connection, scope, keywords, CANDIDATES),
    )
    best = list(fused(*halves))[:BEST]
    return [hit.passage_id for hit in read(connection, scope, best, vector, keywords)]


def asked(
    servers: BareServers, ask: Ask, scope: Scope, queries: Sequence[tuple[str, QueryVector]]
) -> Iterator[tuple[Sequence[int], float]]:
    """For each query what is found, and the seconds that it took."""
    for query, vector in queries:
        with servers.database.transaction() as connection:
            began = time.perf_counter()
            found = ask(connection, scope, query, vector)
            took_s = time.perf_counter() - began
        yield found, took_s


def row(way: str, answers: Sequence[tuple[Sequence[int], float]], exact: Sequence[Sequence[int]] | None) -> Row:
    """A row of the table."""
    times = [took_s * 1000 for _, took_s in answers]
    recall = None
    if exact is not None:
        shares = [len({*found} & {*best}) / BEST for (found, _), best in zip(answers, exact, strict=True)]
        recall = float(np.mean(shares))
    return Row(way, recall, float(np.percentile(times, 50)), float(np.percentile(times, 95)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--accounts", type=int, default=4)
    parser.add_argument("--queries", type=int, default=100)
    chosen = parser.parse_args()
    maker, rows = Maker(), []
    with bare_servers() as servers:
        corpus = filled(servers, chosen.passages, chosen.accounts, maker)
        words = [" ".join(text.split()[:6]) for text in maker.texts(chosen.queries)]
        vectors = [QueryVector(MODEL, vector.tolist()) for vector in maker.vectors(chosen.queries)]
        queries = list(zip(words, vectors, strict=True))
        large, small = corpus.scopes[0], corpus.scopes[-1]
        servers.rows("ANALYZE")
        exact = {scope: list(asked(servers, semantic, scope, queries)) for scope in (large, small)}
        best = {scope: [found for found, _ in answers] for scope, answers in exact.items()}
        rows.append(row("semantic, exact, account of half", exact[large], None))
        with patch.object(search, "LOOKED_AT", chosen.passages * MOST_TERMS):
            looked = {scope: list(asked(servers, keyword, scope, queries)) for scope in (large, small)}
        most = {scope: [found for found, _ in answers] for scope, answers in looked.items()}
        rows.append(row("keyword, all looked at, account of half", looked[large], None))
        began = time.perf_counter()
        vector_indexes.renew(servers.database)
        print(f"{chosen.passages} passages, {chosen.accounts} accounts; index in {time.perf_counter() - began:.0f} s\n")
        servers.rows("ANALYZE")
        within = Scope(large.account_id, job_ids=[corpus.jobs[0]])
        ways: Sequence[tuple[str, Ask, Scope, Sequence[Sequence[int]] | None]] = (
            ("semantic, account of half", semantic, large, best[large]),
            ("semantic, small account", semantic, small, best[small]),
            ("semantic, one job", semantic, within, best[large]),
            ("keyword, account of half", keyword, large, most[large]),
            ("keyword, small account", keyword, small, most[small]),
            ("hybrid, account of half", hybrid, large, None),
            ("hybrid, small account", hybrid, small, None),
        )
        for way, ask, scope, known in ways:
            rows.append(row(way, list(asked(servers, ask, scope, queries)), known))
    print("| way | recall@10 | p50 | p95 |")
    print("|---|---|---|---|")
    for one in rows:
        recall = "" if one.recall_at_10 is None else f"{one.recall_at_10:.3f}"
        print(f"| {one.way} | {recall} | {one.p50_ms:.1f} ms | {one.p95_ms:.1f} ms |")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(one) for one in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
