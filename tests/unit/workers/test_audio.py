"""Any recording becomes levelled 16 kHz speech, in bounded memory, and a bad file becomes a clear error."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import MediaTooLong, MediaUnreadable
from core.plan import AudioChunk, Clip, Region
from models import vad
from workers.inputs.audio import (
    FULL_SCALE,
    MAX_GAIN,
    PEAK_LIMIT,
    RATE_HZ,
    TARGET_RMS,
    DecodedAudio,
    decode,
    level,
    render_chunk,
    speech_regions,
)

Samples = NDArray[np.float32]
FORMATS = [
    ("wav", "pcm_s16le", 44_100),
    ("flac", "flac", 48_000),
    ("mp3", "libmp3lame", 44_100),
    ("m4a", "aac", 44_100),
    ("mp4", "aac", 22_050),
    ("ogg", "libopus", 48_000),
    ("webm", "libopus", 48_000),
]


def tone(duration_s: float, rate_hz: int = RATE_HZ, amplitude: float = 0.5) -> Samples:
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)


def write_media(path: Path, samples: Samples, codec: str = "pcm_s16le", rate_hz: int = RATE_HZ) -> Path:
    """A stereo file whose container is told by the suffix of its name."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        pcm = np.repeat((samples * 32_767).astype(np.int16), 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
        frame.rate = rate_hz
        frame.pts = 0
        for part in (frame, None):
            container.mux(stream.encode(part))
    return path


def decode_all(path: Path, max_s: float = 3600.0) -> DecodedAudio:
    return decode(path, path.with_suffix(".raw"), max_s=max_s, on_progress=lambda _: None)


def stored(path: Path, samples: Samples) -> DecodedAudio:
    np.rint(samples * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2").tofile(path)
    return DecodedAudio(path, samples.size, samples.size / RATE_HZ, damaged=False)


def rms(samples: NDArray[np.floating[Any]]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize(("suffix", "codec", "rate_hz"), FORMATS)
def test_every_format_comes_out_as_the_sound_that_went_in(
    tmp_path: Path, suffix: str, codec: str, rate_hz: int
) -> None:
    audio = decode_all(write_media(tmp_path / f"sound.{suffix}", tone(3.0, rate_hz), codec, rate_hz))
    assert audio.duration_s == pytest.approx(3.0, abs=0.1)
    assert not audio.damaged
    heard = audio.samples(1.0, 2.0)
    assert heard.shape == (RATE_HZ,)
    assert rms(heard) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    assert np.argmax(np.abs(np.fft.rfft(heard))) == 440


def test_the_name_of_a_file_says_nothing_about_its_format(tmp_path: Path) -> None:
    misnamed = shutil.move(write_media(tmp_path / "sound.flac", tone(1.0), "flac"), tmp_path / "sound.mp3")
    assert decode_all(Path(misnamed)).duration_s == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    "content",
    [b"", b"Dear all,\nthis is no sound at all.\n" * 500, b"\x00" * 5000, b"%PDF-1.7\n" * 100, b"RIFF\x00\x00"],
    ids=["nothing", "text", "zeros", "pdf", "a cut header"],
)
def test_a_file_that_is_no_recording_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.mp3").write_bytes(content)
    with pytest.raises(MediaUnreadable):
        decode_all(tmp_path / "notes.mp3")


def test_a_playlist_that_names_another_file_is_not_followed(tmp_path: Path) -> None:
    secret = write_media(tmp_path / "secret.wav", tone(1.0))
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "list.ffconcat"
    concat.write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    for path in (playlist, concat):
        with pytest.raises(MediaUnreadable):
            decode_all(path)


def test_a_video_without_sound_is_unreadable_and_the_error_says_why(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for part in (frame, None):
            container.mux(stream.encode(part))
    with pytest.raises(MediaUnreadable, match="no audio stream"):
        decode_all(tmp_path / "silent.mp4")


@pytest.mark.parametrize(("suffix", "codec", "rate_hz"), [row for row in FORMATS if row[0] in ("mp3", "ogg", "flac")])
def test_a_cut_off_file_is_decoded_as_far_as_it_goes(tmp_path: Path, suffix: str, codec: str, rate_hz: int) -> None:
    path = write_media(tmp_path / f"cut.{suffix}", tone(10.0, rate_hz), codec, rate_hz)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    audio = decode_all(path)
    assert 3.0 < audio.duration_s < 7.0
    assert audio.damaged is (suffix != "ogg")  # an Ogg file does not say how long it should be


def holed_mp3(path: Path) -> Path:
    """Ten seconds with noise over some of the bytes in the middle."""
    content = bytearray(write_media(path, tone(10.0, 44_100), "libmp3lame", 44_100).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).integers(0, 255, 3000, np.uint8).tobytes()
    path.write_bytes(content)
    return path


def test_a_hole_in_the_middle_is_skipped_and_marks_the_recording_as_damaged(tmp_path: Path) -> None:
    audio = decode_all(holed_mp3(tmp_path / "hole.mp3"))
    assert audio.damaged
    assert audio.duration_s > 8.0


def test_a_bad_file_says_nothing_on_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    decode_all(holed_mp3(tmp_path / "hole.mp3"))
    assert capfd.readouterr().err == ""


def test_a_recording_that_is_too_long_is_refused_as_soon_as_that_is_known(tmp_path: Path) -> None:
    path = write_media(tmp_path / "long.wav", tone(60.0))
    with pytest.raises(MediaTooLong, match="longer than the 20 s"):
        decode_all(path, max_s=20.0)
    assert path.with_suffix(".raw").stat().st_size < 25 * RATE_HZ * 2


def test_progress_is_told_in_seconds_of_the_recording(tmp_path: Path) -> None:
    told: list[float] = []
    path = write_media(tmp_path / "long.wav", tone(45.0))
    decode(path, tmp_path / "raw", max_s=60.0, on_progress=told.append)
    assert len(told) == 4
    assert told == sorted(told)
    assert told[-1] == pytest.approx(40.0, abs=2.0)


def test_silence_holds_no_speech(tmp_path: Path) -> None:
    audio = decode_all(write_media(tmp_path / "silent.wav", np.zeros(RATE_HZ * 5, np.float32)))
    assert list(speech_regions(audio)) == []


def test_a_tone_is_found_to_be_no_speech(tmp_path: Path) -> None:
    assert list(speech_regions(stored(tmp_path / "raw", tone(5.0)))) == []


def loud_spans(pause_s: float = 0.3) -> Callable[[Samples], Sequence[vad.Region]]:
    """A detector that takes anything louder than silence for speech, joining over short pauses."""

    def find(samples: Samples) -> list[vad.Region]:
        found: list[vad.Region] = []
        block = RATE_HZ // 100
        for index, start in enumerate(range(0, samples.size, block)):
            if np.any(np.abs(samples[start : start + block]) > 0.01):
                end_s = (start + block) / RATE_HZ
                if found and index / 100 - found[-1].end_s < pause_s:
                    found[-1] = vad.Region(found[-1].start_s, end_s)
                else:
                    found.append(vad.Region(index / 100, end_s))
        return found

    return find


@pytest.mark.parametrize("window_s", [7.0, 10.0, 13.3, 25.0, 600.0])
def test_no_region_is_cut_lost_or_doubled_at_the_border_of_a_window(tmp_path: Path, window_s: float) -> None:
    spoken = [(0.0, 2.0), (4.0, 9.5), (9.9, 10.5), (19.0, 20.0), (24.5, 29.0), (39.0, 40.0)]
    samples = np.zeros(40 * RATE_HZ, np.float32)
    for start_s, end_s in spoken:
        samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)] = 0.3
    regions = speech_regions(stored(tmp_path / "raw", samples), loud_spans(), window_s=window_s)
    assert [(r.start_s, r.end_s) for r in regions] == [pytest.approx(span, abs=0.02) for span in spoken]


def test_speech_without_any_pause_is_still_found_to_its_end(tmp_path: Path) -> None:
    regions = list(speech_regions(stored(tmp_path / "raw", tone(33.0)), loud_spans(), window_s=10.0))
    assert regions[0].start_s == 0.0
    assert regions[-1].end_s == pytest.approx(33.0)
    assert all(left.end_s == right.start_s for left, right in itertools.pairwise(regions))


def test_the_detector_never_gets_more_than_a_window(tmp_path: Path) -> None:
    sizes: list[int] = []

    def measure(samples: Samples) -> list[vad.Region]:
        sizes.append(samples.size)
        return []

    assert list(speech_regions(stored(tmp_path / "raw", tone(33.0)), measure, window_s=10.0)) == []
    assert max(sizes) == 10 * RATE_HZ


class Growing(DecodedAudio):
    """Tells how much of it was waited for."""

    def await_until(self, time_s: float) -> float:
        awaited.append(time_s)
        return super().await_until(time_s)


awaited: list[float] = []


def test_the_first_speech_is_found_before_the_rest_of_the_recording_is_there(tmp_path: Path) -> None:
    samples = np.zeros(60 * RATE_HZ, np.float32)
    samples[2 * RATE_HZ : 4 * RATE_HZ] = 0.3
    sound = stored(tmp_path / "raw", samples)
    awaited.clear()
    regions = speech_regions(Growing(sound.path, sound.n_samples, 60.0, False), loud_spans(), window_s=10.0)

    assert next(regions).start_s == pytest.approx(2.0, abs=0.02)
    assert awaited == [10.0]


def test_speech_is_looked_for_from_where_it_was_left_off(tmp_path: Path) -> None:
    samples = np.zeros(40 * RATE_HZ, np.float32)
    for start_s, end_s in [(1.0, 3.0), (12.0, 14.0), (30.0, 31.0)]:
        samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)] = 0.3
    sound = stored(tmp_path / "raw", samples)

    whole = list(speech_regions(sound, loud_spans(), window_s=10.0))
    rest = speech_regions(sound, loud_spans(), window_s=10.0, from_s=whole[0].end_s)
    assert [region.start_s for region in rest] == [pytest.approx(region.start_s, abs=0.02) for region in whole[1:]]
    assert list(speech_regions(sound, loud_spans(), from_s=40.0)) == []


@pytest.mark.parametrize("amplitude", [0.001, 0.02, 0.9])
def test_every_loudness_is_brought_to_the_same(amplitude: float) -> None:
    assert rms(level(tone(1.0, amplitude=amplitude))) == pytest.approx(TARGET_RMS, rel=1e-3)


def test_a_peak_stays_below_full_scale_though_the_rest_is_quiet() -> None:
    samples = tone(1.0, amplitude=0.01)
    samples[5000] = 0.5
    assert np.max(np.abs(level(samples))) == pytest.approx(PEAK_LIMIT)


def test_near_silence_is_not_blown_up_and_silence_stays_silence() -> None:
    assert rms(level(tone(1.0, amplitude=1e-5))) == pytest.approx(1e-5 / np.sqrt(2) * MAX_GAIN, rel=1e-3)
    assert not level(np.zeros(100, np.float32)).any()
    assert level(np.zeros(0, np.float32)).size == 0


def test_a_chunk_is_rendered_on_its_own_clock_with_its_regions_levelled_and_short_pauses(tmp_path: Path) -> None:
    loud, quiet = tone(2.0, amplitude=0.8), tone(2.0, amplitude=0.004)
    hiss = np.full(RATE_HZ, 0.002, np.float32)
    audio = stored(tmp_path / "raw", np.concatenate([hiss, loud, hiss, quiet, hiss]))
    chunk = AudioChunk((Clip((Region(1.0, 3.0),)), Clip((Region(4.0, 6.0),))), max_pause_s=0.5)
    rendered = render_chunk(audio, chunk).astype(np.float32) / FULL_SCALE
    assert rendered.shape == (4.5 * RATE_HZ,)
    assert rms(rendered[: 2 * RATE_HZ]) == pytest.approx(TARGET_RMS, rel=0.01)
    assert not rendered[2 * RATE_HZ : 5 * RATE_HZ // 2].any()
    assert rms(rendered[5 * RATE_HZ // 2 :]) == pytest.approx(TARGET_RMS, rel=0.02)


def test_what_lies_a_little_beyond_the_end_is_silence(tmp_path: Path) -> None:
    audio = stored(tmp_path / "raw", tone(1.0))
    rendered = render_chunk(audio, AudioChunk((Clip((Region(0.0, 1.00004),)),)))
    assert (rendered.size, rendered[-1]) == (RATE_HZ + 1, 0)
