"""A file that a URL leads to comes whole, or not at all with the reason; from a real server on loopback."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import AddressRefused, DownloadFailed, FileUnavailable, JobError, MediaTooLarge
from core.links import UrlHosts
from tests.listening import Answering, Reply, Site, site
from workers.inputs.direct import DirectOptions, download
from workers.inputs.fetched import Fetched, FetchLimits

BODY = bytes(range(256)) * 4096  # 1 MiB
LIMITS = FetchLimits(max_bytes=2 * len(BODY), max_s=60)


@pytest.fixture
def serve() -> Iterator[Callable[[Answering], Site]]:
    """Starts a server; it ends with the test."""
    begun = []

    def start(answer: Answering) -> Site:
        begun.append(site(answer))
        return begun[-1].__enter__()

    yield start
    for one in begun:
        one.__exit__(None, None, None)


def fetch(
    found: Site, folder: Path, path: str = "/talk.mp3", limits: FetchLimits = LIMITS, retries: int = 2
) -> Fetched:
    return download(found.url + path, folder, limits, patient(found, retries), lambda *_: None)


def patient(found: Site, retries: int = 2) -> DirectOptions:
    return DirectOptions(UrlHosts(private=frozenset({found.address})), retries=retries, pause_s=0, silence_s=5)


def test_a_file_is_fetched_with_its_progress(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    found = serve(lambda path, headers: Reply(body=BODY, headers={"Content-Type": "audio/mpeg"}))
    options, seen = DirectOptions(UrlHosts(private=frozenset({found.address}))), list[tuple[int, int | None]]()

    fetched = download(f"{found.url}/a/My%20talk.mp3?x=1", tmp_path, LIMITS, options, lambda *one: seen.append(one))

    assert fetched.path.read_bytes() == BODY
    assert fetched.path.parent == tmp_path
    assert fetched.name == "My talk.mp3"
    assert seen == sorted(seen)
    assert seen[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="talk.pdf"', "talk.pdf"),
        ("attachment; filename*=UTF-8''na%C3%AFve%20talk.pdf", "naïve talk.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\a\\\\b.pdf"', "b.pdf"),
        ('attachment; filename="a\x07b.pdf"', "ab.pdf"),
        ("inline", "file.bin"),
        ("attachment; filename*=idna''x", "file.bin"),
        ("attachment; filename*0*=x; filename*=a'b'c", "file.bin"),
        ('attachment; filename="' + "x" * 500 + '"', "x" * 200),
    ],
)
def test_a_file_is_called_as_its_server_calls_it(
    tmp_path: Path, serve: Callable[[Answering], Site], disposition: str, name: str
) -> None:
    found = serve(lambda path, headers: Reply(body=b"x", headers={"Content-Disposition": disposition}))

    assert fetch(found, tmp_path, "/a/file.bin").name == name


def test_a_redirect_is_followed_and_the_last_place_names_the_file(
    tmp_path: Path, serve: Callable[[Answering], Site]
) -> None:
    def answer(path: str, headers: Mapping[str, str]) -> Reply:
        return Reply(302, headers={"Location": "/b/real.mp3"}) if path == "/talk.mp3" else Reply(body=b"there")

    fetched = fetch(serve(answer), tmp_path)

    assert (fetched.path.read_bytes(), fetched.name) == (b"there", "real.mp3")


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_what_a_server_says_beside_a_redirect_is_not_waited_for(
    tmp_path: Path, serve: Callable[[Answering], Site], headers: Mapping[str, str]
) -> None:
    length = {"Content-Length": str(10**15)}

    def answer(path: str, _: Mapping[str, str]) -> Reply:
        there = {"Location": "/b/real.mp3", **length, **headers}
        return Reply(302, BODY, there, holds=True) if path == "/talk.mp3" else Reply(body=b"there")

    assert fetch(serve(answer), tmp_path, retries=0).path.read_bytes() == b"there"


@pytest.mark.parametrize("mark", [{"ETag": '"one"'}, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}])
def test_a_download_that_broke_off_is_continued(
    tmp_path: Path, serve: Callable[[Answering], Site], mark: Mapping[str, str]
) -> None:
    def answer(path: str, headers: Mapping[str, str]) -> Reply:
        if "range" not in headers:
            return Reply(body=BODY, headers=mark, breaks_after=300_000)
        begin = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        there = {"Content-Range": f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}", **mark}
        return Reply(206, BODY[begin:], there)

    found = serve(answer)

    assert fetch(found, tmp_path).path.read_bytes() == BODY
    assert len(found.requests) == 2
    assert found.requests[1][1]["if-range"] in mark.values()
    assert 0 < int(found.requests[1][1]["range"].removeprefix("bytes=").removesuffix("-")) <= 300_000


def test_a_download_that_goes_on_is_not_given_up(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    def answer(path: str, headers: Mapping[str, str]) -> Reply:
        begin = int(headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        there = {"Content-Range": f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}", "ETag": '"one"'}
        return Reply(206 if begin else 200, BODY[begin:], there, breaks_after=100_000)

    found = serve(answer)

    assert fetch(found, tmp_path, retries=0).path.read_bytes() == BODY
    assert len(found.requests) > 10


def test_a_server_that_sends_next_to_nothing_is_gone(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    found = serve(lambda path, headers: Reply(body=BODY, drips=True))
    options = replace(patient(found, retries=0), silence_s=0.2)

    with pytest.raises(DownloadFailed, match="too slowly"):
        download(found.url, tmp_path, LIMITS, options, lambda *_: None)


def test_what_cannot_be_decoded_is_asked_for_once(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    found = serve(lambda path, headers: Reply(body=BODY, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(FileUnavailable, match="cannot be decoded"):
        fetch(found, tmp_path)
    assert len(found.requests) == 1


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    def answer(path: str, headers: Mapping[str, str]) -> Reply:
        if "range" not in headers:
            return Reply(body=BODY, headers={"ETag": '"old"'}, breaks_after=300_000)
        return Reply(body=b"new", headers={"ETag": '"new"'})

    assert fetch(serve(answer), tmp_path).path.read_bytes() == b"new"


CONTINUED_WITH_ANOTHER = Reply(206, b"x", {"Content-Range": "bytes {there}-999999/1000000", "ETag": '"new"'})


@pytest.mark.parametrize("refusal", [Reply(416), CONTINUED_WITH_ANOTHER])
def test_a_server_that_cannot_continue_is_asked_for_the_whole_file(
    tmp_path: Path, serve: Callable[[Answering], Site], refusal: Reply
) -> None:
    def answer(path: str, headers: Mapping[str, str]) -> Reply:
        if len(found.requests) == 1:
            return Reply(body=BODY, headers={"ETag": '"old"'}, breaks_after=300_000)
        if "range" not in headers:
            return Reply(body=b"new", headers={"ETag": '"new"'})
        there = headers["range"].removeprefix("bytes=").removesuffix("-")
        return replace(refusal, headers={name: value.format(there=there) for name, value in refusal.headers.items()})

    found = serve(answer)

    assert fetch(found, tmp_path).path.read_bytes() == b"new"
    assert ["range" in headers for _, headers in found.requests] == [False, True, False]


def test_a_file_without_a_mark_is_fetched_anew(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    replies = iter([Reply(body=BODY, breaks_after=300_000), Reply(body=BODY)])
    found = serve(lambda path, headers: next(replies))

    assert fetch(found, tmp_path).path.read_bytes() == BODY
    assert all("range" not in headers for _, headers in found.requests)


def test_what_breaks_off_each_time_has_failed_and_may_be_tried_again(
    tmp_path: Path, serve: Callable[[Answering], Site]
) -> None:
    found = serve(lambda path, headers: Reply(body=BODY, breaks_after=1000))

    with pytest.raises(DownloadFailed) as caught:
        fetch(found, tmp_path, retries=2)

    assert caught.value.retryable
    assert len(found.requests) == 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(tmp_path: Path, serve: Callable[[Answering], Site], status: int) -> None:
    replies = iter([Reply(status), Reply(body=b"there")])

    assert fetch(serve(lambda path, headers: next(replies)), tmp_path).path.read_bytes() == b"there"


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 451, 418])
def test_what_will_not_pass_is_not_tried_again(tmp_path: Path, serve: Callable[[Answering], Site], status: int) -> None:
    found = serve(lambda path, headers: Reply(status))

    with pytest.raises(FileUnavailable, match=str(status)):
        fetch(found, tmp_path)
    assert len(found.requests) == 1


def test_a_file_that_is_said_to_be_too_large_is_not_downloaded(
    tmp_path: Path, serve: Callable[[Answering], Site]
) -> None:
    found = serve(lambda path, headers: Reply(body=BODY))

    with pytest.raises(MediaTooLarge, match="1000 bytes"):
        fetch(found, tmp_path, limits=FetchLimits(1000, 60))
    assert (tmp_path / "input").stat().st_size == 0


def test_a_file_that_turns_out_too_large_is_given_up(tmp_path: Path, serve: Callable[[Answering], Site]) -> None:
    packed = gzip.compress(bytes(50_000_000))  # no length is known of what is packed
    found = serve(lambda path, headers: Reply(body=packed, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(MediaTooLarge):
        fetch(found, tmp_path)
    assert (tmp_path / "input").stat().st_size <= LIMITS.max_bytes


@pytest.mark.parametrize(
    ("reply", "refusal", "why"),
    [
        (Reply(body=b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), FileUnavailable, "a web page"),
        (Reply(), FileUnavailable, "is empty"),
        (Reply(302, headers={"Location": "file:///etc/passwd"}), AddressRefused, "http"),
        (Reply(302, headers={"Location": "http://169.254.169.254/"}), AddressRefused, "does not fetch"),
        (Reply(302, headers={"Location": "jar:http://a!/"}), FileUnavailable, "no URL of the web"),
        (Reply(302, headers={"Location": "/talk.mp3"}), FileUnavailable, "redirects more than 5"),
        (Reply(206, b"x", {"Content-Range": "bytes 7-7/9"}), FileUnavailable, "another place"),
    ],
)
def test_what_is_no_file_is_refused_with_the_reason(
    tmp_path: Path, serve: Callable[[Answering], Site], reply: Reply, refusal: type[JobError], why: str
) -> None:
    with pytest.raises(refusal, match=why):
        fetch(serve(lambda path, headers: reply), tmp_path)


def test_a_server_that_is_not_there_is_a_download_that_failed(tmp_path: Path) -> None:
    with site(lambda path, headers: Reply()) as gone:
        pass

    with pytest.raises(DownloadFailed, match="refused"):
        fetch(gone, tmp_path, retries=0)
