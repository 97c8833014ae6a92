"""What faults cost: a whole deployment, struck at every moment, over and over; and how long a lost worker is missed.

The first table repeats what `tests/faults` tests: real servers and processes, a fault while a chunk is held at one of
its moments, then the books of every job that was accepted meanwhile. Lost is a job that did not complete; doubled is
counted for a strike after which the books, or the text of a job, are not as those of a job that nothing happened to.

The second table takes the machine of an inference worker away in the middle of a chunk (killed, and not started again)
while another lives, and takes the time on the database's clock until the chunk is begun again: at the default settings,
and with a lease of 10 s.

The tables go to standard output and to `benchmarks/results/faults.json`. The exit status is 1 if anything was lost or
doubled, or a recovery took longer than its limit.

    .venv/bin/python -m benchmarks.faults --rounds 50 --samples 10
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import UUID

from core.job import Stage
from core.lanes import INFERENCE_QUEUES
from service import processes
from service.client import Client, ClientError
from tests.faults.books import faults_in_the_books, orphans, recovery_s
from tests.faults.deployment import INFERENCE, SECOND, Deployment, deployment, submit
from tests.faults.faults import FAULTS, Fault
from tests.faults.moments import Moment, caught
from tests.faults.striking import ended, strike

RESULTS = Path(__file__).parent / "results" / "faults.json"

DEFAULTS = {
    "SCRIBELANE_LEASE_S": "60",
    "SCRIBELANE_HEARTBEAT_S": "5",
    "SCRIBELANE_DISPATCH_S": "5",
    "SCRIBELANE_RESCUE_S": "15",
    "SCRIBELANE_REDISPATCH_S": "30",
}
SHORT_LEASE = {**DEFAULTS, "SCRIBELANE_LEASE_S": "10", "SCRIBELANE_HEARTBEAT_S": "3"}
RECOVERIES = (("defaults", DEFAULTS, 80.0), ("lease_s=10", SHORT_LEASE, 20.0))


@dataclass
class Tally:
    """What came of one fault."""

    name: str
    rounds: int = 0
    lost: int = 0
    doubled: int = 0
    until_done_s: list[float] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def main() -> int:
    """Strike and measure; 1 if something does not hold."""
    parser = argparse.ArgumentParser(description="Faults: what is lost, what is doubled, how long it takes.")
    parser.add_argument("--rounds", type=int, default=10, help="strikes, over all faults and moments in turn")
    parser.add_argument("--samples", type=int, default=3, help="lost workers for each lease")
    asked = parser.parse_args()
    tallies = _strike(asked.rounds)
    _print_tallies(tallies)
    recoveries = {name: _recoveries(settings, asked.samples) for name, settings, _ in RECOVERIES}
    _print_recoveries(recoveries)
    RESULTS.parent.mkdir(exist_ok=True)
    result = {"faults": [asdict(one) for one in tallies], "recovery_s": recoveries}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    held = not any(one.lost or one.doubled for one in tallies)
    in_time = all(max(recoveries[name], default=0) <= limit for name, _, limit in RECOVERIES)
    return 0 if held and in_time else 1


def _strike(rounds: int) -> list[Tally]:
    tallies = {fault.name: Tally(fault.name) for fault in FAULTS}
    cases = [(fault, moment) for fault in FAULTS for moment in fault.moments]
    with tempfile.TemporaryDirectory() as folder, deployment(Path(folder)) as whole, whole.client() as client:
        like = UUID(client.wait(str(submit(client))).id)
        for fault, moment in itertools.islice(itertools.cycle(cases), rounds):
            _round(whole, client, fault, moment, like, tallies[fault.name])
    return [one for one in tallies.values() if one.rounds]


def _round(whole: Deployment, client: Client, fault: Fault, moment: Moment, like: UUID, tally: Tally) -> None:
    tally.rounds += 1
    try:
        struck = strike(whole, client, fault, moment)
        jobs = ended(client, struck.job_ids)
    except (AssertionError, ClientError) as error:  # nothing comes back within minutes: whatever waits is lost
        tally.lost += 1
        tally.findings.append(f"{moment}: {error}")
        return
    lost = [job for job in jobs if job.status != "completed"]
    tally.lost += len(lost)
    tally.findings += [f"{moment}: {job.id} is {job.status}, {job.error}" for job in lost]
    done = [UUID(job.id) for job in jobs if job not in lost]
    with whole.database() as database, database.transaction() as connection:
        found = faults_in_the_books(connection, done, like) + orphans(whole.blob_folder, connection)
        took = "SELECT extract(epoch FROM finished_at - CAST(%s AS timestamptz)) FROM jobs WHERE id = %s"
        for job_id in done[:1]:
            tally.until_done_s.append(float(connection.exec_driver_sql(took, (struck.at, job_id)).scalar_one()))
    tally.doubled += bool(found)
    tally.findings += [f"{moment}: {one}" for one in found]


def _recoveries(settings: dict[str, str], samples: int) -> list[float]:
    """Seconds from the loss of a worker in the middle of a chunk until another worker begins the chunk again."""
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        deployment(Path(folder), settings) as whole,
        whole.client() as client,
    ):
        for _ in range(samples):
            with caught(whole, Moment.AT_WORK, Stage.TRANSCRIBE, INFERENCE, lambda: submit(client)) as held:
                whole.lose(INFERENCE)
            whole.start(SECOND, processes.inference_worker("cpu", INFERENCE_QUEUES))
            client.wait(str(held.job_id))
            found.append(recovery_s(whole, held.chunk_id, held.at) or float("inf"))
            whole.stop(SECOND)
            whole.start(INFERENCE, processes.inference_worker("cpu", INFERENCE_QUEUES))
            whole.await_workers(INFERENCE)
    return found


def _print_tallies(tallies: Sequence[Tally]) -> None:
    print(f"{'fault':<52} {'rounds':>6} {'lost':>5} {'doubled':>8} {'until done, s: median':>22} {'worst':>6}")
    for one in tallies:
        taken = one.until_done_s or [float("nan")]
        middle, worst = statistics.median(taken), max(taken)
        print(f"{one.name:<52} {one.rounds:>6} {one.lost:>5} {one.doubled:>8} {middle:>22.1f} {worst:>6.1f}")
        for finding in one.findings:
            print(f"    {finding}")
    rounds, lost, doubled = (sum(getattr(one, key) for one in tallies) for key in ("rounds", "lost", "doubled"))
    print(f"{'all':<52} {rounds:>6} {lost:>5} {doubled:>8}")


def _print_recoveries(recoveries: dict[str, list[float]]) -> None:
    print(f"\n{'a lost worker at':<20} {'samples':>8} {'fastest, s':>11} {'median':>8} {'worst':>8} {'limit':>7}")
    for name, _, limit in RECOVERIES:
        taken = sorted(recoveries[name])
        middle = statistics.median(taken)
        print(f"{name:<20} {len(taken):>8} {taken[0]:>11.1f} {middle:>8.1f} {taken[-1]:>8.1f} {limit:>7.0f}")
        print("    " + " ".join(f"{one:.1f}" for one in taken))


if __name__ == "__main__":
    sys.exit(main())
