"""What yt-dlp says of a failure becomes the right code, in the words of the installed version."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import pytest
import yt_dlp
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UnavailableVideoError, UserNotLive

from core.errors import (
    DownloadBlocked,
    DownloadFailed,
    JobError,
    VideoAgeRestricted,
    VideoLive,
    VideoPrivate,
    VideoUnavailable,
)
from tests.unit.workers.tube import VIDEO_ID, answering, player
from workers.inputs import youtube, youtube_errors
from workers.inputs.youtube import YouTubeOptions
from workers.inputs.youtube_errors import RULES, Rule, cleaned, named

SOURCE = Path(yt_dlp.__file__).parent
FILES = [*(SOURCE / "extractor" / "youtube").glob("*.py")] + [
    SOURCE / name for name in ("YoutubeDL.py", "extractor/common.py", "utils/_utils.py")
]

REASONS: list[tuple[str, str, type[JobError]]] = [
    ("LOGIN_REQUIRED", "Sign in to confirm you’re not a bot", DownloadBlocked),
    ("LOGIN_REQUIRED", "Sign in to confirm you're not a bot. This helps protect our community.", DownloadBlocked),
    ("LOGIN_REQUIRED", "Please sign in", DownloadBlocked),
    ("ERROR", "This content isn't available, try again later.", DownloadBlocked),
    ("LOGIN_REQUIRED", "Sign in to confirm your age", VideoAgeRestricted),
    ("UNPLAYABLE", "This video is age-restricted and only available on YouTube", VideoAgeRestricted),
    ("LOGIN_REQUIRED", "This video may be inappropriate for some users.", VideoAgeRestricted),
    ("LOGIN_REQUIRED", "Private video", VideoPrivate),
    ("LOGIN_REQUIRED", "Private video. Sign in if you've been granted access to this video", VideoPrivate),
    ("LOGIN_REQUIRED", "This video is private", VideoPrivate),
    ("UNPLAYABLE", "Join this channel to get access to members-only content like this video.", VideoPrivate),
    ("UNPLAYABLE", "This video is available to this channel's members on level: Gold.", VideoPrivate),
    ("LIVE_STREAM_OFFLINE", "This live event will begin in 2 hours.", VideoLive),
    ("LIVE_STREAM_OFFLINE", "This live event will begin in a few moments.", VideoLive),
    ("LIVE_STREAM_OFFLINE", "This live event has ended.", VideoLive),
    ("LIVE_STREAM_OFFLINE", "Premieres in 3 days", VideoLive),
    ("LIVE_STREAM_OFFLINE", "Premiere will begin shortly", VideoLive),
    ("ERROR", "Video unavailable", VideoUnavailable),
    ("ERROR", "This video is unavailable", VideoUnavailable),
    ("UNPLAYABLE", "This video is not available", VideoUnavailable),
    ("ERROR", "This video isn't available anymore", VideoUnavailable),
    ("ERROR", "This video is no longer available because the uploader has closed their account.", VideoUnavailable),
    ("ERROR", "This video has been removed by the uploader", VideoUnavailable),
    ("UNPLAYABLE", "This live stream recording is not available.", VideoUnavailable),
    ("ERROR", "The YouTube account associated with this video has been terminated.", VideoUnavailable),
    ("UNPLAYABLE", "This video requires payment to watch", VideoUnavailable),
    ("UNPLAYABLE", "This video contains content from X, who has blocked it in your country", VideoUnavailable),
]  # fmt: skip
"""What YouTube answers, as far as that is known, and what it is."""


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> JobError:
    """The error of asking for a video of which YouTube answers this."""
    answering(monkeypatch, answer)
    with pytest.raises(JobError) as raised:
        youtube.extract(VIDEO_ID, folder, YouTubeOptions(retries=0, pause_s=0))
    return raised.value


@pytest.mark.parametrize(("status", "reason", "error"), REASONS, ids=lambda value: str(value)[:40])
def test_a_reason_of_youtube_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, reason: str, error: type[JobError]
) -> None:
    found = asked(tmp_path, monkeypatch, player(status=status, reason=reason))

    assert type(found) is error
    assert "--cookies" not in found.message


def test_a_video_that_is_shown_elsewhere_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "The uploader has not made this video available in your country"
    screen = {"playerErrorMessageRenderer": {"subreason": {"simpleText": why}}}

    found = asked(tmp_path, monkeypatch, player(status="UNPLAYABLE", reason="Video unavailable", error=screen))

    assert type(found) is VideoUnavailable
    assert "country" in found.message


def test_a_captcha_is_a_wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = {"playerCaptchaViewModel": {"siteKey": "x"}}

    found = asked(tmp_path, monkeypatch, player(status="UNPLAYABLE", reason="One more step", error=screen))

    assert type(found) is DownloadBlocked


def test_a_protected_video_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = player(status="OK") | {"streamingData": {"licenseInfos": [{"drmFamily": "WIDEVINE"}]}}

    found = asked(tmp_path, monkeypatch, answer)

    assert type(found) is VideoUnavailable
    assert "DRM" in found.message


def test_what_youtube_said_stands_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "This video has been removed by the uploader"

    found = asked(tmp_path, monkeypatch, player(status="ERROR", reason=reason))

    assert found.message == f"{VideoUnavailable.__doc__} YouTube said: {reason}."


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.of_yt_dlp], ids=lambda rule: rule.words)
def test_the_installed_yt_dlp_uses_these_words(rule: Rule) -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in FILES).casefold()

    assert rule.words.casefold() in source


def test_each_rule_is_one_that_counts() -> None:
    """A rule that an earlier one always takes the word from is none."""
    firsts = [next(one for one in RULES if one.words.casefold() in rule.words.casefold()) for rule in RULES]

    assert firsts == list(RULES)


@pytest.mark.parametrize("words", [rule.words for rule in RULES if not rule.of_yt_dlp])
def test_each_reason_that_only_youtube_words_is_among_the_tested(words: str) -> None:
    assert any(words.casefold() in reason.replace("’", "'").casefold() for _, reason, _ in REASONS)


def _failure(error: Exception) -> DownloadError:
    """As yt-dlp raises what it met."""
    return DownloadError(f"ERROR: {error}", (type(error), error, None))


@pytest.mark.parametrize(
    ("met", "error"),
    [
        (UserNotLive(video_id=VIDEO_ID), VideoLive),
        (GeoRestrictedError("Not here", countries=["DE"]), VideoUnavailable),
        (ExtractorError("Your IP is likely being blocked by Youtube"), DownloadBlocked),
        (ExtractorError("This video is only available for registered users", expected=True), DownloadBlocked),
        (ExtractorError("No video formats found!", video_id=VIDEO_ID, ie="youtube"), DownloadBlocked),
        (TransportError("The read operation timed out"), DownloadFailed),
        (ExtractorError("Something new"), DownloadFailed),
    ],
    ids=str,
)  # fmt: skip
def test_what_yt_dlp_raises_by_itself_is_named(met: Exception, error: type[JobError]) -> None:
    with pytest.raises(JobError) as raised, named():
        raise _failure(met)

    assert type(raised.value) is error


def test_an_unknown_message_is_told_without_what_is_yt_dlps_own(tmp_path: Path) -> None:
    met = ExtractorError(
        "\x1b[0;31mNew\x1b[0m kind\0 of trouble in /srv/app/lib/file.py", video_id=VIDEO_ID, ie="youtube"
    )

    with pytest.raises(DownloadFailed) as raised, named():
        raise _failure(met)

    assert raised.value.message == f"{DownloadFailed.__doc__} It ended with: New kind of trouble in."
    assert "report this issue" in str(met)


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("ERROR: [youtube] aqz-KE-bpKQ: Odd. Use --cookies for the authentication. See  https://x.y/z", "Odd"),
        ("ERROR: Odd (caused by <HTTPError 500: x>); please report this issue on  https://x.y", "Odd"),
        ("Odd\nYou might want to use a VPN or a proxy server (with --proxy) to workaround.", "Odd"),
        ("", "no reason was given"),
        ("x" * 1000, "x" * youtube_errors.MAX_MESSAGE),
    ],
)
def test_a_message_is_cleaned(message: str, left: str) -> None:
    assert cleaned(message) == left


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_failure_of_the_download(number: int) -> None:
    met = UnavailableVideoError(OSError(number, "full"))
    met.__context__ = OSError(number, "full")

    with pytest.raises(OSError, match="full") as raised, named():
        raise _failure(met)

    assert raised.value.errno == number


def test_what_is_not_yt_dlps_is_left_alone() -> None:
    with pytest.raises(re.error), named():
        raise re.error("a fault of ours")
