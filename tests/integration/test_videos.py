"""A video goes all the way: the confined process fetches it with the real yt-dlp, and its job is prepared.

YouTube itself answers from `tests.unit.workers.tube`; the sound comes over loopback, which only a test can allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from core.details import Chapter, MediaDetails
from core.dispatch import Dispatcher
from core.errors import AddressRefused, MediaTooLarge, MediaTooLong
from core.links import UrlHosts, VideoLink
from core.store.session import Database
from tests import tubefetcher
from tests.conftest import write_tiers
from tests.integration import work
from tests.integration.worker import context, working
from tests.unit.workers.tube import TIDES_S, VIDEO_ID, Tube, serving, webm
from workers.inputs import fetching, opening
from workers.inputs.fetched import Fetched, FetchLimits
from workers.inputs.orders import FetchOptions, Order
from workers.inputs.process import OpenLimits

ROOMY = FetchLimits(max_bytes=100_000_000, max_s=3600)
CHAPTERS = (Chapter("At sea", 0, 30), Chapter("On the shore", 30, 60), Chapter("The moon", 60, TIDES_S))


@pytest.fixture
def tube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tube]:
    """The one video that YouTube knows, for whoever is started to fetch."""
    with serving(Tube(webm(tmp_path / "tides.webm"))) as found:
        program = (*fetching._PROGRAM[:3], str(tubefetcher.__file__), found.url)
        monkeypatch.setattr(fetching, "_PROGRAM", program)
        monkeypatch.setenv("PYTHONPATH", str(Path(tubefetcher.__file__).parents[1]))
        yield found


def options(tube: Tube) -> FetchOptions:
    return FetchOptions(UrlHosts(private=frozenset({("127.0.0.1", tube.port)})), retries=1)


def fetch(tube: Tube, folder: Path, limits: FetchLimits, told: list[tuple[int, int | None]]) -> Fetched:
    folder.mkdir()
    order = Order(VideoLink(VIDEO_ID), folder, limits, options(tube))
    return fetching.fetch(order, lambda there, total: told.append((there, total)))


def test_the_sound_of_a_video_is_handed_over_with_its_details(tube: Tube, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with capture_logs() as logs:
        found = fetch(tube, tmp_path / "own", ROOMY, told)

    assert (found.path.parent, found.path.read_bytes()) == (tmp_path / "own", tube.body)
    assert found.name == "The tides"
    assert isinstance(found.details, MediaDetails)
    assert (found.details.title, found.details.channel, found.details.video_id) == (
        "The tides",
        "Coast Channel",
        VIDEO_ID,
    )
    assert found.details.chapters == CHAPTERS
    assert told
    assert {total for _, total in told} == {len(tube.body)}
    assert [one for one in logs if "unbound" in one] == []


def test_what_was_handed_over_is_decoded(tube: Tube, tmp_path: Path) -> None:
    found = fetch(tube, tmp_path / "own", ROOMY, [])
    limits = OpenLimits(2**30, 60, 60)

    with opening.decoding(found.path, tmp_path / "raw", max_s=600, limits=limits, on_progress=lambda: None) as sound:
        assert sound.await_until(math.inf) == pytest.approx(TIDES_S, abs=1)


@pytest.mark.parametrize(
    ("limits", "error"), [(FetchLimits(1000, 3600), MediaTooLarge), (FetchLimits(100_000_000, 60), MediaTooLong)]
)
def test_a_video_over_the_limits_ends_in_its_error(
    tube: Tube, tmp_path: Path, limits: FetchLimits, error: type[Exception]
) -> None:
    with pytest.raises(error):
        fetch(tube, tmp_path / "own", limits, [])


def test_sound_on_a_private_address_is_not_asked_for(tube: Tube, tmp_path: Path) -> None:
    order = Order(VideoLink(VIDEO_ID), tmp_path, ROOMY, FetchOptions(UrlHosts(), retries=1))

    with pytest.raises(AddressRefused):
        fetching.fetch(order, lambda *_: None)
    assert tube.ranges == []


def test_the_job_of_a_video_shows_what_youtube_says_of_it(
    tube: Tube, api: TestClient, database: Database, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    url = f"https://www.youtube.com/watch?v={VIDEO_ID}"
    job = api.post("/v1/transcriptions", json={"url": url, "model": "fake"}).json()
    plain = context(dispatcher, tmp_path, write_tiers(tmp_path / "tiers.toml", upload_max_bytes=10_000_000))

    with working(replace(plain, fetching=options(tube))) as attempts:
        while chunks := work.queued(database, job["id"]):
            attempts.work(chunks[0])

    found = api.get(job["status_url"]).json()
    assert (found["status"], found["error"]) == ("completed", None)
    assert (found["input"]["title"], found["input"]["video_id"]) == ("The tides", VIDEO_ID)
    assert found["input"]["duration_s"] == pytest.approx(TIDES_S, abs=1)
    passages = api.get(f"/v1/jobs/{job['id']}/passages").json()["data"]
    assert list(dict.fromkeys(one["section"] for one in passages)) == [one.title for one in CHAPTERS]
