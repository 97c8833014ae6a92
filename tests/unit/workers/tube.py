"""For the tests of YouTube: what YouTube answers about a video, and a server on loopback that its formats point at.

yt-dlp is the real one: its extractor reads the answers, its selection chooses, its downloader downloads.
"""

from __future__ import annotations

import copy
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import pytest
from yt_dlp import YoutubeDL
from yt_dlp.extractor.youtube import YoutubeIE

VIDEO_ID = "aqz-KE-bpKQ"
TIDES = Path(__file__).parents[3] / "examples" / "tides.ogg"
TIDES_S = 87


@dataclass
class Tube:
    """Serves one file. What it does wrong is set before it is asked; what it was asked for is kept."""

    body: bytes
    cut_at: int | None = None
    """The first connection ends after so many bytes."""
    length: str | None = "told"
    """What is said of the length: the truth (`told`), nothing (None), or this."""
    ranged: bool = True
    """Whether it answers with the part that it was asked for."""
    status: int = 200
    failures: int = 0
    """So many requests get a 503 first."""
    lost: str | None = None
    """What is asked for by this path is not there."""
    port: int = 0
    ranges: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/videoplayback"

    def pieces(self, n_bytes: int) -> list[str]:
        """The paths of the body in pieces of so many bytes."""
        return [f"/piece/{first}/{first + n_bytes}" for first in range(0, len(self.body), n_bytes)]


class _Answers(http.server.BaseHTTPRequestHandler):
    tube: Tube

    def do_GET(self) -> None:
        tube, asked = self.tube, self.headers.get("Range")
        tube.ranges.append(asked)
        if tube.failures:
            tube.failures -= 1
            return self._refuse(503)
        if tube.status != 200:
            return self._refuse(tube.status)
        if self.path == tube.lost:
            return self._refuse(404)
        if self.path.startswith("/piece/"):
            return self._give(tube.body[slice(*map(int, self.path.split("/")[2:]))])
        asked = asked if tube.ranged else None
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(tube.body) - 1}/{len(tube.body)}")
        if tube.length is not None:
            self.send_header("Content-Length", str(len(tube.body) - first) if tube.length == "told" else tube.length)
        self.end_headers()
        last, tube.cut_at = tube.cut_at, None
        self.wfile.write(tube.body[first:last])
        self.close_connection = True

    def _give(self, piece: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        self.wfile.write(piece)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):  # whoever asked has heard enough
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Not in the tests' output."""


@contextmanager
def serving(tube: Tube) -> Iterator[Tube]:
    """The tube, on a port of loopback, until the end of the block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("_AnswersOf", (_Answers,), {"tube": tube}))
    tube.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield tube
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def webm(path: Path) -> bytes:
    """The sample recording as YouTube would send it: Opus in WebM."""
    with av.open(str(TIDES)) as source, av.open(str(path), "w", format="webm") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()


def player(
    url: str | None = None, *, status: str = "OK", reason: str | None = None, error: Any = None, **video: Any
) -> dict[str, Any]:
    """What YouTube's player API answers: a video with one format of sound and one of picture, or why there is none."""
    playability = {"status": status, "reason": reason, "errorScreen": error}
    answer: dict[str, Any] = {
        "playabilityStatus": {name: value for name, value in playability.items() if value is not None},
        "videoDetails": {
            "videoId": VIDEO_ID,
            "title": "The tides",
            "shortDescription": "0:00 At sea\n0:30 On the shore\n1:00 The moon",
            "lengthSeconds": str(TIDES_S),
            "isLiveContent": False,
            **video,
        },
    }
    if url:
        answer["streamingData"] = {"adaptiveFormats": [_sound(url), _picture(url)]}
    return answer


_OWNER = {"videoSecondaryInfoRenderer": {"owner": {"videoOwnerRenderer": {"title": {"simpleText": "Coast Channel"}}}}}
_BESIDE = {"contents": {"twoColumnWatchNextResults": {"results": {"results": {"contents": [_OWNER]}}}}}


def answering(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
    """Let yt-dlp's own extractor find this answer, and what stands beside a video, where it would ask YouTube."""

    def no_page(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(YoutubeIE, "_download_initial_webpage", no_page)
    monkeypatch.setattr(YoutubeIE, "_download_player_url", no_page)
    monkeypatch.setattr(YoutubeIE, "_download_ytcfg", lambda *_, **__: {})
    monkeypatch.setattr(YoutubeIE, "_download_initial_data", lambda *_, **__: copy.deepcopy(_BESIDE))
    monkeypatch.setattr(YoutubeIE, "_extract_player_response", lambda *_, **__: copy.deepcopy(answer))
    open_url = YoutubeDL.urlopen

    def open_here(ydl: YoutubeDL, request: Any) -> Any:
        assert request.url.startswith("http://127.0.0.1:"), f"{request.url} is not on loopback"
        return open_url(ydl, request)

    monkeypatch.setattr(YoutubeDL, "urlopen", open_here)


def _sound(url: str) -> dict[str, Any]:
    return {
        "itag": 251,
        "url": url,
        "mimeType": 'audio/webm; codecs="opus"',
        "bitrate": 30_000,
        "averageBitrate": 27_000,
        "audioQuality": "AUDIO_QUALITY_MEDIUM",
        "audioSampleRate": "48000",
        "audioChannels": 1,
        "approxDurationMs": str(TIDES_S * 1000),
    }


def _picture(url: str) -> dict[str, Any]:
    return {
        "itag": 137,
        "url": f"{url}/picture",
        "mimeType": 'video/mp4; codecs="avc1.640028"',
        "bitrate": 4_000_000,
        "width": 1920,
        "height": 1080,
        "fps": 25,
        "qualityLabel": "1080p",
        "approxDurationMs": str(TIDES_S * 1000),
    }
