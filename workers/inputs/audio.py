"""Turns a media file of any kind into the levelled 16 kHz speech that Whisper hears.

The prepare stage calls these in order: `decode` the file into a scratch file of samples, `speech_regions` of it,
then, after `core.plan` has packed the regions into clips and chunks, `render_chunk` for each chunk's blob. All of it
goes on at once: the first chunk is rendered while the rest of the file is still decoded. A recording of many hours is
never in memory as a whole.

Why each speech region is levelled: Whisper's log-mel is clamped relative to the loudest moment of its 30 s window,
so a quiet speaker beside a loud one vanishes. Ten FLEURS speakers joined (48 dB apart), Whisper base: word error
rate 0.642 as they are, 0.085 levelled and cut as in `core.plan`; 0.094 if the pauses keep their own sound.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from core.details import MediaDetails
from core.errors import MediaTooLong, MediaUnreadable
from core.plan import AudioChunk, Region
from models import vad
from workers.inputs.media_details import of_container

RATE_HZ = 16_000
FULL_SCALE = 32_768

FORMATS = "aac,ac3,aiff,amr,asf,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,webm"
"""The containers that are opened. Playlists (HLS, DASH, concat, SDP) are left out: they name other files and hosts."""

PROGRESS_S = 10.0
"""Seconds of media between two calls of `on_progress`."""

MISSING_S = 2.0
MISSING_SHARE = 0.02
"""A recording that is shorter than its file says by more than both is damaged; estimated durations are that exact."""

TARGET_RMS = 0.1
PEAK_LIMIT = 0.95
MAX_GAIN = 1_000.0
"""60 dB. What is quieter than -80 dB is left quiet: its 16-bit samples hold three values and no speech."""

WINDOW_S = 60.0
"""Speech is looked for in windows so long: the first chunk of a recording waits until they cover it."""

BORDER_S = 1.0
"""Speech that ends this close to the end of a window may go on: it is looked for again in the next window."""


class SpeechSpan(Protocol):
    """What a speech detector answers: seconds on the clock of the samples that it was given."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


class Sound(Protocol):
    """16 kHz mono audio, all of it or as much as is decoded so far."""

    def await_until(self, time_s: float) -> float:
        """Wait until so many seconds are there; how many are: fewer only where the recording ends before."""

    def samples(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """The samples between two times, which are there, as a copy of shape (n,), -1 to 1."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """16 kHz mono samples in a scratch file, little-endian 16-bit. `damaged`: some of the file was not decodable;
    `details`: its title and chapters."""

    path: Path
    n_samples: int
    duration_s: float
    damaged: bool
    details: MediaDetails = field(default_factory=MediaDetails)

    def await_until(self, time_s: float) -> float:
        """All of it is there."""
        return self.duration_s

    def samples(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """See `Sound`."""
        with self.path.open("rb") as file:
            return read_samples(file, start_s, end_s)


def read_samples(file: BinaryIO, start_s: float, end_s: float) -> NDArray[np.float32]:
    """What a file of 16-bit samples holds between two times; less where it ends before. Shape (n,), -1 to 1.

    It is read and not mapped: who maps a file that another process cuts off is ended by the system.
    """
    first, last = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
    file.seek(first * 2)
    return np.asarray(np.fromfile(file, "<i2", max(0, last - first)) / np.float32(FULL_SCALE), dtype=np.float32)


def decode(path: Path, scratch: Path, *, max_s: float, on_progress: Callable[[float], None]) -> DecodedAudio:
    """Decode the first audio stream of a local file into `scratch`.

    `on_progress` is told the seconds decoded so far, which are in `scratch` by then. What cannot be decoded is skipped
    and marks the result as damaged. Raises `MediaUnreadable` if nothing can be, `MediaTooLong` as soon as more than
    `max_s` seconds came out; durations that the file claims are not believed.
    """
    av.logging.set_level(av.logging.PANIC)
    with path.open("rb") as source, scratch.open("wb") as target:
        sink = _Sink(target, max_s, on_progress)
        damaged, details = _decode_stream(source, sink)
    if sink.n_samples == 0:
        raise MediaUnreadable()
    return DecodedAudio(scratch, sink.n_samples, sink.n_samples / RATE_HZ, damaged, details)


def speech_regions(
    sound: Sound,
    find_speech: Callable[[NDArray[np.float32]], Sequence[SpeechSpan]] = vad.find_speech,
    *,
    window_s: float = WINDOW_S,
    from_s: float = 0.0,
) -> Iterator[Region]:
    """The spans of speech after `from_s` on the media clock, in order and apart, as soon as the sound is there.

    It is searched in windows. A region that a window's end may have cut is dropped and found again, whole, by the next
    window, which begins in the pause before it.
    """
    start_s, ended = from_s, False
    while not ended:
        end_s = start_s + window_s
        there_s = sound.await_until(end_s)
        ended = there_s < end_s
        if there_s <= start_s:
            return
        samples = sound.samples(start_s, min(end_s, there_s))
        found = [Region(start_s + span.start_s, start_s + span.end_s) for span in find_speech(samples)]
        if not ended:
            found, start_s = _uncut(found, start_s, end_s)
        yield from found


def level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """One speech region, shape (n,), brought to an RMS of 0.1 as far as its peak and `MAX_GAIN` allow."""
    if samples.size == 0:
        return samples
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    peak = float(np.max(np.abs(samples)))
    if peak == 0.0:
        return samples
    gain = min(TARGET_RMS / rms, PEAK_LIMIT / peak, MAX_GAIN)
    return np.asarray(samples * gain, dtype=np.float32)


def render_chunk(sound: Sound, chunk: AudioChunk) -> NDArray[np.int16]:
    """The chunk's audio as `AudioChunk.layout` says, shape (n,): each region levelled, silence between them."""
    rendered = np.zeros(round(chunk.audio_s * RATE_HZ), dtype=np.int16)
    for placed in itertools.chain.from_iterable(chunk.layout()):
        samples = sound.samples(placed.region.start_s, placed.region.end_s)
        first = round(placed.at_s * RATE_HZ)
        levelled = np.rint(level(samples[: rendered.size - first]) * (FULL_SCALE - 1)).astype(np.int16)
        rendered[first : first + levelled.size] = levelled
    return rendered


def _uncut(found: Sequence[Region], start_s: float, end_s: float) -> tuple[list[Region], float]:
    """The regions that the window's end did not cut, and where the next window begins."""
    whole = list(found)
    if whole and whole[-1].end_s > end_s - BORDER_S:
        cut = whole.pop()
        if not whole and cut.start_s <= start_s + BORDER_S:  # it fills the window: no pause to begin in
            return [cut], cut.end_s
        return whole, max(cut.start_s - BORDER_S, whole[-1].end_s if whole else start_s)
    return whole, end_s - BORDER_S


class _Sink:
    """Takes decoded frames and writes them as 16 kHz mono 16-bit, keeping count and the limit."""

    def __init__(self, target: BinaryIO, max_s: float, on_progress: Callable[[float], None]) -> None:
        self.n_samples = 0
        self._target = target
        self._max_s = max_s
        self._on_progress = on_progress
        self._told_s = 0.0
        self._resampler = _resampler()

    def take(self, frame: av.AudioFrame) -> None:
        try:
            self._write(self._resampler.resample(frame))
        except ValueError:  # the stream changed its rate or layout: finish with the old ones, begin with the new
            self.finish()
            self._resampler = _resampler()
            self._write(self._resampler.resample(frame))

    def finish(self) -> None:
        """Write what the resampler still holds."""
        if self.n_samples:
            self._write(self._resampler.resample(None))

    def _write(self, frames: Sequence[av.AudioFrame]) -> None:
        for frame in frames:
            self.n_samples += frame.samples
            if self.n_samples > self._max_s * RATE_HZ:
                limit = f"{self._max_s:g} s"
                raise MediaTooLong(f"The recording is longer than the {limit} that this account's tier accepts.")
            self._target.write(frame.to_ndarray().astype("<i2", copy=False).tobytes())
        duration_s = self.n_samples / RATE_HZ
        if duration_s >= self._told_s + PROGRESS_S:
            self._told_s = duration_s
            self._target.flush()
            self._on_progress(duration_s)


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)


def _decode_stream(source: BinaryIO, sink: _Sink) -> tuple[bool, MediaDetails]:
    """Feed every frame of the first audio stream to the sink; whether something could not be decoded, and what the
    file says of itself."""
    try:
        container = av.open(source, "r", options={"format_whitelist": FORMATS}, metadata_errors="ignore")
    except MemoryError:  # FFmpeg's own as well
        raise
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaUnreadable("The file is not audio or video that can be opened.") from error
    with container:
        if not container.streams.audio:
            raise MediaUnreadable("The file holds no audio stream.")
        stream, details = container.streams.audio[0], of_container(container)
        damaged = False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in packet.decode():
                    sink.take(frame)
            except MemoryError:
                raise
            except av.FFmpegError:
                damaged = True
        sink.finish()
        return damaged or _breaks_off(container, stream, sink.n_samples / RATE_HZ), details


def _breaks_off(container: av.container.InputContainer, stream: av.AudioStream, decoded_s: float) -> bool:
    """Whether the file says that it is clearly longer than what came out, as one does that was cut between frames."""
    claimed_s = 0.0
    if stream.duration is not None and stream.time_base is not None:
        claimed_s = float(stream.duration * stream.time_base)
    elif container.duration is not None and not container.streams.video:
        claimed_s = container.duration / av.time_base
    return claimed_s - decoded_s > max(MISSING_S, MISSING_SHARE * claimed_s)
