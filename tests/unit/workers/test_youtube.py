"""The sound of a video comes whole or not at all, with what YouTube says of it: the real yt-dlp, over loopback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yt_dlp

from core.details import Chapter
from core.errors import (
    DownloadBlocked,
    DownloadFailed,
    JobError,
    MediaTooLarge,
    MediaTooLong,
    VideoLive,
    VideoUnavailable,
)
from tests.unit.workers.tube import TIDES_S, VIDEO_ID, Tube, answering, player, serving, webm
from workers.inputs import javascript, youtube
from workers.inputs.audio import decode
from workers.inputs.fetched import Fetched, FetchLimits
from workers.inputs.youtube import YouTubeOptions

ROOMY = FetchLimits(max_bytes=100_000_000, max_s=3600)
QUICK = YouTubeOptions(retries=2, pause_s=0.001, silence_s=5)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return webm(tmp_path_factory.mktemp("sound") / "tides.webm")


@pytest.fixture
def tube(sound: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tube]:
    """A server that holds the sound of the one video that YouTube knows."""
    with serving(Tube(sound)) as found:
        answering(monkeypatch, player(found.url))
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def download(
    folder: Path,
    limits: FetchLimits = ROOMY,
    options: YouTubeOptions = QUICK,
    told: list[tuple[int, int | None]] | None = None,
) -> Fetched:
    told = [] if told is None else told
    return youtube.download(VIDEO_ID, folder, limits, options, lambda done, total: told.append((done, total)))


def test_the_best_sound_comes_whole_and_nothing_else_is_left(tube: Tube, folder: Path) -> None:
    fetched = download(folder)

    assert fetched.path.read_bytes() == tube.body
    assert list(folder.iterdir()) == [fetched.path]
    assert fetched.path.suffix == ".webm"


def test_what_youtube_says_of_the_video_comes_with_it(tube: Tube, folder: Path) -> None:
    fetched = download(folder)

    assert fetched.name == "The tides"
    assert fetched.details is not None
    assert (fetched.details.title, fetched.details.channel) == ("The tides", "Coast Channel")
    assert fetched.details.video_id == VIDEO_ID
    assert str(fetched.details.thumbnail_url).startswith(f"https://i.ytimg.com/vi_webp/{VIDEO_ID}/")
    assert fetched.details.chapters == (
        Chapter("At sea", 0, 30), Chapter("On the shore", 30, 60), Chapter("The moon", 60, TIDES_S),
    )  # fmt: skip


def test_what_was_downloaded_is_decoded(tube: Tube, folder: Path) -> None:
    fetched = download(folder)

    audio = decode(fetched.path, folder / "decoded", max_s=3600, on_progress=lambda _: None)

    assert audio.duration_s == pytest.approx(TIDES_S, abs=1)
    assert not audio.damaged


def test_progress_is_told_up_to_the_whole(tube: Tube, folder: Path) -> None:
    told: list[tuple[int, int | None]] = []

    download(folder, told=told)

    assert told == sorted(told)
    assert told[0][0] < len(tube.body)
    assert {total for _, total in told} == {len(tube.body)}
    assert told[-1][0] == len(tube.body)


def test_a_download_that_breaks_off_is_continued_where_it_ended(tube: Tube, folder: Path) -> None:
    tube.cut_at = 100_000

    fetched = download(folder)

    first, second = tube.ranges
    assert str(first).startswith("bytes=0-")
    assert 0 < _begin(second) <= 100_000
    assert fetched.path.read_bytes() == tube.body


def test_another_call_continues_what_a_failed_one_has_left(tube: Tube, folder: Path) -> None:
    tube.cut_at = 100_000
    with pytest.raises(DownloadFailed):
        download(folder, options=replace(QUICK, retries=0))

    fetched = download(folder)

    assert 0 < _begin(tube.ranges[-1]) <= 100_000
    assert fetched.path.read_bytes() == tube.body
    assert list(folder.iterdir()) == [fetched.path]


def test_a_server_that_is_busy_for_a_moment_is_asked_again(tube: Tube, folder: Path) -> None:
    tube.failures = 2

    assert download(folder).path.read_bytes() == tube.body
    assert len(tube.ranges) == 3


def test_a_server_that_stays_busy_fails_the_download(tube: Tube, folder: Path) -> None:
    tube.status = 503

    with pytest.raises(DownloadFailed, match="HTTP Error 503"):
        download(folder)
    assert len(tube.ranges) == 1 + QUICK.retries


@pytest.mark.parametrize(("status", "error"), [(403, DownloadBlocked), (429, DownloadBlocked), (404, DownloadFailed)])
def test_a_refused_download_is_named_by_its_status(
    tube: Tube, folder: Path, status: int, error: type[JobError]
) -> None:
    tube.status = status

    with pytest.raises(error, match=str(status)):
        download(folder)


def test_what_youtube_says_is_too_large_is_not_begun(tube: Tube, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = player(tube.url)
    answer["streamingData"]["adaptiveFormats"][0]["contentLength"] = "200000001"
    answering(monkeypatch, answer)

    with pytest.raises(MediaTooLarge, match="200000001 bytes; this account's tier accepts 100000000"):
        download(folder)
    assert tube.ranges == []


def test_what_the_server_says_is_too_large_ends_with_its_first_piece(
    tube: Tube, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promise(monkeypatch, tube, 1000)
    tube.ranged, tube.length = False, "200000001"
    told: list[tuple[int, int | None]] = []

    with pytest.raises(MediaTooLarge, match="200000001 bytes"):
        download(folder, told=told)
    assert told == []


@pytest.mark.parametrize("limit", [1, 200_000])
def test_more_than_was_promised_ends_the_download_at_the_limit(
    tube: Tube, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    _promise(monkeypatch, tube, 1)
    tube.ranged, tube.length = False, None
    told: list[tuple[int, int | None]] = []

    with pytest.raises(MediaTooLarge, match=f"accepts {limit}"):
        download(folder, FetchLimits(limit, 3600), told=told)
    assert all(done <= limit for done, _ in told)


def test_a_disk_without_room_is_no_failure_of_the_download(tube: Tube, folder: Path) -> None:
    (folder / "media.webm.part").symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left") as raised:
        download(folder)
    assert raised.value.errno == errno.ENOSPC


def test_a_video_that_is_too_long_is_not_begun(tube: Tube, folder: Path) -> None:
    with pytest.raises(MediaTooLong, match=f"{TIDES_S} s long; this account's tier accepts 60 s"):
        download(folder, FetchLimits(100_000_000, 60))
    assert tube.ranges == []


@pytest.mark.parametrize("state", ["isLive", "isUpcoming", "isPostLiveDvr"])
def test_a_stream_that_is_not_over_is_refused(
    tube: Tube, folder: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    answer = player(tube.url, isLiveContent=True)
    answer["videoDetails"][state] = True
    answering(monkeypatch, answer)

    with pytest.raises(VideoLive):
        download(folder)
    assert tube.ranges == []


def test_the_recording_of_a_stream_that_is_over_is_a_video_like_others(
    tube: Tube, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, player(tube.url, isLiveContent=True, isLive=False))

    assert download(folder).path.read_bytes() == tube.body


@pytest.mark.parametrize("kind", ["playlist", "multi_video", "url"])
def test_what_is_not_one_video_is_refused(folder: Path, kind: str) -> None:
    with pytest.raises(VideoUnavailable, match="playlist" if kind != "url" else "trailer"):
        youtube.fetch({"_type": kind, "id": "PL0", "entries": []}, folder, ROOMY, QUICK, lambda *_: None)


def test_a_video_of_which_only_a_picture_is_offered_is_blocked(
    tube: Tube, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = player(tube.url)
    del answer["streamingData"]["adaptiveFormats"][0]
    answering(monkeypatch, answer)

    with pytest.raises(DownloadBlocked, match="nothing with sound"):
        download(folder)


def _in_pieces(tube: Tube) -> youtube.Info:
    """A video whose sound comes in pieces, as in YouTube's manifests."""
    base = tube.url.removesuffix("/videoplayback")
    sound = {"format_id": "251", "ext": "webm", "vcodec": "none", "acodec": "opus", "protocol": "http_dash_segments"}
    pieces = [{"url": base + path} for path in tube.pieces(50_000)]
    return {
        "id": VIDEO_ID, "title": "In pieces", "extractor": "youtube", "extractor_key": "Youtube",
        "formats": [{**sound, "url": tube.url, "fragments": pieces}],
    }  # fmt: skip


def test_sound_in_pieces_is_joined(tube: Tube, folder: Path) -> None:
    tube.failures = 1

    fetched = youtube.fetch(_in_pieces(tube), folder, ROOMY, QUICK, lambda *_: None)

    assert fetched.path.read_bytes() == tube.body
    assert list(folder.iterdir()) == [fetched.path]


def test_sound_without_one_of_its_pieces_is_no_sound(tube: Tube, folder: Path) -> None:
    tube.lost = tube.pieces(50_000)[3]

    with pytest.raises(DownloadFailed, match="404"):
        youtube.fetch(_in_pieces(tube), folder, ROOMY, QUICK, lambda *_: None)


def test_pieces_that_are_too_much_together_end_the_download(tube: Tube, folder: Path) -> None:
    with pytest.raises(MediaTooLarge):
        youtube.fetch(_in_pieces(tube), folder, FetchLimits(120_000, 3600), QUICK, lambda *_: None)
    assert len(tube.ranges) < 5


def test_cookies_are_sent_and_their_file_stays_as_it_is(tube: Tube, folder: Path, tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    written = "# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t0\tSID\tsecret\n"
    cookies.write_text(written)
    cookies.chmod(0o400)

    parameters = youtube._parameters(folder, replace(QUICK, cookies_file=cookies))
    with yt_dlp.YoutubeDL(parameters) as ydl:
        assert "SID=secret" in str(ydl.cookiejar.get_cookie_header("https://www.youtube.com/"))
    fetched = download(folder, options=replace(QUICK, cookies_file=cookies))

    assert cookies.read_text() == written
    assert sorted(folder.iterdir()) == sorted({fetched.path, cookies})


@pytest.mark.parametrize("content", [None, b"not cookies\n", b"\xff\xfe"])
def test_cookies_that_cannot_be_read_are_said_to_be_the_operators(
    folder: Path, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "cookies.txt"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(DownloadBlocked, match="cookies file"):
        download(folder, options=replace(QUICK, cookies_file=file))


def test_the_proxy_and_the_rate_are_those_of_the_options_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere.example:1")

    proxies: list[Any] = []
    for proxy in (None, "http://127.0.0.1:3128"):
        options = replace(QUICK, proxy=proxy, rate_bytes_per_s=50_000)
        with yt_dlp.YoutubeDL(youtube._parameters(folder, options)) as ydl:
            proxies.append(ydl.proxies)
            assert ydl.params["ratelimit"] == 50_000

    assert proxies == [{"all": "__noproxy__"}, {"all": "http://127.0.0.1:3128"}]


def test_yt_dlp_knows_youtube_alone_and_loads_no_plugin(folder: Path) -> None:
    with yt_dlp.YoutubeDL(youtube._parameters(folder, QUICK)) as ydl:
        assert list(ydl._ies) == ["Youtube"]
        assert yt_dlp.plugins.directories() == []


def test_yt_dlp_finds_the_javascript_runtime(folder: Path) -> None:
    with yt_dlp.YoutubeDL(youtube._parameters(folder, QUICK)) as ydl:
        found = ydl._js_runtimes["deno"].info

    assert found.supported
    assert found.version == javascript.version()
    assert found.path == str(javascript.runtime())


def _promise(monkeypatch: pytest.MonkeyPatch, tube: Tube, n_bytes: int) -> None:
    """Let YouTube say that the sound has so many bytes."""
    answer = player(tube.url)
    answer["streamingData"]["adaptiveFormats"][0]["contentLength"] = str(n_bytes)
    answering(monkeypatch, answer)


def _begin(asked: str | None) -> int:
    """The first byte that was asked for. yt-dlp drops the piece that a broken connection cut."""
    assert asked is not None
    return int(asked.removeprefix("bytes=").split("-")[0])
