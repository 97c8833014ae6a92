"""A submitted URL is a video, a file on a host that is allowed, or refused with the reason."""

from __future__ import annotations

import pytest

from core.errors import UrlNotAllowed
from core.job import JobKind
from core.links import DirectLink, HostRule, UrlHosts, VideoLink, hosts_of, read
from tests.evasions import MALFORMED_URLS, PRIVATE_URLS

ANY = hosts_of("*")
RECORDING, PDF = JobKind.TRANSCRIPTION, JobKind.DOCUMENT


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=abc_DEF-123",
        "http://youtube.com/watch?v=abc_DEF-123&t=41s",
        "https://www.youtube.com/watch?list=PL123&index=2&v=abc_DEF-123",
        "https://YOUTUBE.com./watch?v=abc_DEF-123#t=1",
        "https://m.youtube.com/watch?v=abc_DEF-123",
        "https://music.youtube.com/watch?v=abc_DEF-123&si=x",
        "https://youtu.be/abc_DEF-123?t=3",
        "https://www.youtube.com/shorts/abc_DEF-123",
        "https://www.youtube.com/live/abc_DEF-123?feature=share",
        "https://www.youtube.com/embed/abc_DEF-123",
        "https://www.youtube-nocookie.com/embed/abc_DEF-123?rel=0",
        "https://www.youtube.com/v/abc_DEF-123",
        "https://www.youtube.com:443/watch/abc_DEF-123",
    ],
)
def test_every_link_to_a_video_is_that_video(url: str) -> None:
    link = read(url, RECORDING, UrlHosts())

    assert link == VideoLink("abc_DEF-123")
    assert link.url == "https://www.youtube.com/watch?v=abc_DEF-123"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("https://www.youtube.com/playlist?list=PL123", "a playlist"),
        ("https://www.youtube.com/watch?list=PL123", "a playlist"),
        ("https://www.youtube.com/embed/videoseries?list=PL123", "a playlist"),
        ("https://www.youtube.com/embed/live_stream?channel=UC1", "a channel"),
        ("https://www.youtube.com/@somebody", "a channel"),
        ("https://www.youtube.com/@somebody/videos", "a channel"),
        ("https://www.youtube.com/channel/UC123", "a channel"),
        ("https://www.youtube.com/c/somebody", "a channel"),
        ("https://www.youtube.com/user/somebody", "a channel"),
        ("https://www.youtube.com/feed/trending", "a feed"),
        ("https://www.youtube.com/", "no link to a video"),
        ("https://www.youtube.com/watch?v=short", "no link to a video"),
        ("https://www.youtube.com/watch?v=abc_DEF-1234", "no link to a video"),
        ("https://www.youtube.com/watch?v=abc_DEF-12é", "no link to a video"),
        ("https://youtu.be/", "no link to a video"),
    ],
)
def test_what_of_youtube_is_no_video_is_refused_with_what_it_is(url: str, what: str) -> None:
    with pytest.raises(UrlNotAllowed, match=what):
        read(url, RECORDING, ANY)


def test_a_video_is_no_document() -> None:
    with pytest.raises(UrlNotAllowed, match="no PDF"):
        read("https://youtu.be/abc_DEF-123", PDF, ANY)


@pytest.mark.parametrize(
    "url",
    [
        "https://youtube.com.example.org/watch?v=abc_DEF-123",
        "https://notyoutube.com/watch?v=abc_DEF-123",
        "https://www.youtube.com:8443/watch?v=abc_DEF-123",
    ],
)
def test_what_only_looks_like_youtube_is_not_taken_for_it(url: str) -> None:
    with pytest.raises(UrlNotAllowed, match="does not fetch from"):
        read(url, RECORDING, UrlHosts())


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        ("", "https://example.org/a.mp3", False),
        ("example.org", "https://example.org/a.mp3", True),
        ("example.org", "http://EXAMPLE.org./a.mp3", True),
        ("example.org", "https://www.example.org/a.mp3", False),
        ("example.org", "https://example.org.evil.test/", False),
        (".example.org", "https://cdn.example.org/a.mp3", True),
        (".example.org", "https://example.org/a.mp3", False),
        (".example.org", "https://evilexample.org/a.mp3", False),
        ("example.org", "https://example.org:8443/a", False),
        ("example.org:8443", "https://example.org:8443/a", True),
        ("example.org:8443", "https://example.org/a", False),
        ("a.test, Example.ORG", "https://example.org/", True),
        ("*", "https://example.org/a", True),
        ("*", "https://1.1.1.1/a", True),
        ("*", "https://[2606:4700::1111]/a", True),
        ("*", "https://example.org:8080/a", False),
        ("bücher.example", "https://BÜCHER.example/a", True),
    ],
)
def test_files_are_fetched_from_the_hosts_that_the_operator_names(hosts: str, url: str, *, allowed: bool) -> None:
    if allowed:
        assert isinstance(read(url, PDF, hosts_of(hosts)), DirectLink)
    else:
        with pytest.raises(UrlNotAllowed):
            read(url, PDF, hosts_of(hosts))


def test_a_url_is_kept_in_one_spelling() -> None:
    link = read("HTTPS://Bücher.Example.:443?q=%20#part", RECORDING, ANY)

    assert link == DirectLink("https://xn--bcher-kva.example/?q=%20")
    assert read("http://a.test/ü%C3?ß", RECORDING, ANY) == DirectLink("http://a.test/%C3%BC%C3?%C3%9F")
    with pytest.raises(UrlNotAllowed):
        read("http://a.test/\ud800", RECORDING, ANY)


@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_no_spelling_of_a_private_address_passes(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        read(url, RECORDING, ANY)


@pytest.mark.parametrize("url", MALFORMED_URLS)
def test_what_is_no_plain_url_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        read(url, RECORDING, ANY)


def test_a_private_address_passes_only_with_the_port_that_was_permitted() -> None:
    own = UrlHosts(private=frozenset({("127.0.0.1", 5000)}))

    assert read("http://127.0.0.1:5000/a", PDF, own) == DirectLink("http://127.0.0.1:5000/a")
    for other in ("http://127.0.0.1:5001/a", "http://127.0.0.1/a", "http://127.0.0.2:5000/"):
        with pytest.raises(UrlNotAllowed):
            read(other, PDF, own)


def test_a_list_of_hosts_is_read_entry_by_entry() -> None:
    assert hosts_of(" example.org ,.a.test:81,,*").rules == (
        HostRule("example.org"),
        HostRule("a.test", subdomains=True, port=81),
        HostRule("*"),
    )
    for wrong in ("https://example.org", "example.org/a", "a.test:x", "localhost", "a b", "*.example.org"):
        with pytest.raises(ValueError, match="is no host"):
            hosts_of(wrong)
