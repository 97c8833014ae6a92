"""What hybrid search makes of the judged set, beside each of its halves.

    python -m benchmarks.search_modes [--model NAME] [--models-dir FOLDER] [--reranker FOLDER]

The judged set (`benchmarks.judged`), cut as the service cuts it, is stored in a real PostgreSQL with its words and its
vectors, and each question is asked in each mode, by the statements and the fusion that the API uses, and by other
fusions. A row says how many questions have a right passage first and among the first three, and the mean reciprocal
rank. With the folder of a cross-encoder there is one more, of hybrid search whose best hits it reads again. It goes to
standard output and to `benchmarks/results/search_modes.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from sqlalchemy.engine import Connection

from benchmarks import judged
from benchmarks.bare_servers import bare_servers
from benchmarks.judged import Question
from benchmarks.right_first import Row, measured
from benchmarks.search_quality import MODEL, THREADS, Way, passages
from core import search
from core.job import JobKind
from core.search import CANDIDATES, RERANKED, Ranking, fused, parse, reordered
from core.store.accounts import Account
from core.store.jobs import insert
from core.store.keywords import keywords_of
from core.store.results import Embedded, Prepared
from core.store.search import QueryVector, Scope, matching, nearest, read
from core.store.session import Database
from core.work import PassageBatch
from models import registry
from models.embedder import EmbeddingEngine
from models.registry import ModelKind
from models.reranker import RerankingEngine
from service.searching import without_neighbours
from tests.integration import work
from workers.engines import Weights

RESULTS = Path(__file__).parent / "results" / "search_modes.json"


@dataclass(frozen=True, slots=True)
class Judging:
    """The questions with their vectors, and where what may answer them is stored."""

    database: Database
    account: Account
    questions: Sequence[Question]
    queries: Sequence[QueryVector]


def stored(database: Database, account: Account, name: str, embedded: Embedded) -> UUID:
    """A document of these passages with their vectors, done; a recording is stored as one too, with its seconds."""
    new = work.new_job(account, JobKind.DOCUMENT)
    with database.transaction() as connection:
        insert(connection, replace(new, input=replace(new.input, name=name)))
    cut = embedded.passages
    prepared = Prepared([PassageBatch(len(cut))], pages=1, texts=[cut], language="en")
    work.complete(database, work.claim_one(database, new.id), prepared)
    work.complete(database, work.claim_one(database, new.id), embedded)
    work.finish(database, new.id)
    return new.id


Fusion = Callable[[Ranking, Ranking], Mapping[int, float]]


def by_meaning_alone(semantic: Ranking, keyword: Ranking) -> Mapping[int, float]:
    """The semantic half."""
    return dict(semantic)


def by_words_alone(semantic: Ranking, keyword: Ranking) -> Mapping[int, float]:
    """The half by words."""
    return dict(keyword)


def by_reciprocal_ranks(semantic: Ranking, keyword: Ranking) -> Mapping[int, float]:
    """Reciprocal rank fusion with its usual constant (Cormack, Clarke and Büttcher, 2009)."""
    scores: dict[int, float] = {}
    for half in (semantic, keyword):
        for place, (passage_id, _) in enumerate(half, 1):
            scores[passage_id] = scores.get(passage_id, 0.0) + 1 / (60 + place)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def with_words_weighing(weight: float) -> Fusion:
    """The fusion of the service with another weight."""

    def fusion(semantic: Ranking, keyword: Ranking) -> Mapping[int, float]:
        with patch.object(search, "KEYWORD_WEIGHT", weight):
            return fused(semantic, keyword)

    return fusion


WAYS: Mapping[str, Fusion] = {
    "hybrid": fused,
    "semantic": by_meaning_alone,
    "keyword": by_words_alone,
    "hybrid by reciprocal ranks": by_reciprocal_ranks,
    **{f"hybrid, words weigh {weight:g}": with_words_weighing(weight) for weight in (0.25, 0.75, 1.0)},
}


def asked(
    connection: Connection, account: Account, question: str, query: QueryVector, fusion: Fusion
) -> Iterator[tuple[str, str]]:
    """What a search finds, best first: the name of each source, and the text."""
    scope = Scope(account.id)
    keywords = keywords_of(connection, account.id, parse(question))
    by_meaning = nearest(connection, scope, query, keywords, CANDIDATES)
    by_words = matching(connection, scope, keywords, CANDIDATES)
    ids = fusion(by_meaning, by_words)
    for hit in without_neighbours(read(connection, scope, list(ids), None, None)):
        yield hit.name, hit.passage.text


def rank(hits: Iterator[tuple[str, str]], question: Question) -> float:
    """The place, from 1, of the first right passage; infinite if there is none."""
    right = (place for place, (name, text) in enumerate(hits, 1) if judged.is_right(text, name, question))
    return next(right, float("inf"))


def reread(hits: Sequence[tuple[str, str]], question: str, engine: RerankingEngine) -> list[tuple[str, str]]:
    """The same in the order of the cross-encoder, which reads the best of them."""
    scores = engine.scores(question, [text for _, text in hits[:RERANKED]]).tolist()
    return [hits[place] for place in reordered(range(len(hits)), dict(enumerate(scores)))]


def ranks_of(judging: Judging, fusion: Fusion, reranker: RerankingEngine | None) -> list[tuple[Question, float]]:
    """Where each question has its first right passage."""
    ranks = []
    with judging.database.transaction() as connection:
        for question, query in zip(judging.questions, judging.queries, strict=True):
            hits = asked(connection, judging.account, question.ask, query, fusion)
            best = hits if reranker is None else iter(reread(list(hits), question.ask, reranker))
            ranks.append((question, rank(best, question)))
    return ranks


def printed(row: Row) -> Row:
    print(f"| {row.name} | {row} |", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", default=MODEL, help="the embedding model, of those in models/registry.py")
    parser.add_argument("--models-dir", type=Path, help="folder with one folder of weights a model")
    parser.add_argument("--reranker", type=Path, help="folder of a cross-encoder")
    chosen = parser.parse_args()
    folder: Path | None = chosen.reranker
    everything = judged.load()
    spec = registry.find(chosen.model, ModelKind.EMBEDDING)
    weights = Weights(chosen.models_dir, Path(tempfile.gettempdir()) / "scribelane-weights", download=False)
    engine = EmbeddingEngine(weights.locate(spec), spec, device="cpu", threads=THREADS)
    print(f"{len(everything.questions)} questions, {spec.name}\n")
    print("| mode | right first | in first 3 | MRR | same words | some | other |")
    print("|---|---|---|---|---|---|---|")
    with bare_servers() as servers:
        account = work.open_account(servers.database, "judge")
        for name, group in groupby(passages(everything, weights, Way(), spec.name), key=lambda one: one[0]):
            cut = [passage for _, passage in group]
            made = engine.embed([passage.text for passage in cut]).tolist()
            stored(servers.database, account, name, Embedded(cut, made, spec.name))
        vectors = engine.embed([question.ask for question in everything.questions], query=True).tolist()
        queries = [QueryVector(spec.name, vector) for vector in vectors]
        engine.close()
        judging = Judging(servers.database, account, everything.questions, queries)
        rows = [printed(measured(name, ranks_of(judging, fusion, None))) for name, fusion in WAYS.items()]
        if folder is not None:
            reranker = RerankingEngine(folder, registry.reranker(folder.name), device="cpu", threads=THREADS)
            rows.append(printed(measured("hybrid, re-ranked", ranks_of(judging, fused, reranker))))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
