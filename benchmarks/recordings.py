"""The recordings that accuracy and throughput are measured on, made of utterances whose words are known.

Everything is 16 kHz mono in memory. The utterances are not shipped: `FOLDER/fleurs-LANGUAGE-NNN.ogg` with the reference
in `.txt` beside each, ten of English and ten of German, whose speakers differ in loudness by about 48 dB. What lies
between them (pauses, noise, chords) is made here, with fixed seeds, and so are the sounds that provoke loops.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from models.engine import SAMPLE_RATE_HZ
from workers.inputs.audio import FULL_SCALE, decode, level

Samples = NDArray[np.float32]
"""Shape (n,), -1 to 1."""

EXAMPLES = Path(__file__).parents[1] / "examples"

PAUSE_S = 0.5
LONG_PAUSE_S = 20.0
BETWEEN_S = 5.0
"""Of noise or chords between two utterances."""

NOISE_RMS = 0.02
"""14 dB below levelled speech: a noisy room."""

CHORD_RMS = 0.1
"""As loud as levelled speech: the jingle of a broadcast."""

QUIET = 10 ** (-30 / 20)

_JFK = (
    "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"  # 1961
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one person says, and the words of it."""

    samples: Samples
    words: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A benchmark file. `reference` None: there is nothing to understand in it, or not enough to count errors."""

    name: str
    language: str
    samples: Samples
    reference: str | None

    @property
    def duration_s(self) -> float:
        return self.samples.size / SAMPLE_RATE_HZ


def utterances(folder: Path, language: str) -> list[Utterance]:
    """All of a language, as loud as they are. Exits if there are none."""
    found = [
        Utterance(samples_of(path), path.with_suffix(".txt").read_text(encoding="utf-8"))
        for path in sorted(folder.glob(f"fleurs-{language}-*.ogg"))
    ]
    if not found:
        raise SystemExit(f"{folder} holds no fleurs-{language}-*.ogg")
    return found


def samples_of(path: Path) -> Samples:
    """A media file, decoded as the service does."""
    with tempfile.TemporaryDirectory() as scratch:
        audio = decode(path, Path(scratch) / "audio.raw", max_s=3600.0, on_progress=lambda _: None)
        return audio.samples(0.0, audio.duration_s)


def spread(spoken: Iterable[Utterance], between: Callable[[], Samples]) -> Samples:
    """The utterances one after the other, each followed by what `between` makes."""
    return np.concatenate([part for utterance in spoken for part in (utterance.samples, between())])


def levelled(spoken: Iterable[Utterance]) -> list[Utterance]:
    """Each at one loudness."""
    return [Utterance(level(utterance.samples), utterance.words) for utterance in spoken]


def quiet_and_loud(spoken: Iterable[Utterance]) -> list[Utterance]:
    """Every second one 30 dB below the one before it."""
    gains = itertools.cycle((np.float32(1.0), np.float32(QUIET)))
    return [Utterance(one.samples * gain, one.words) for one, gain in zip(levelled(spoken), gains, strict=False)]


def silence(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), dtype=np.float32)


def noise(duration_s: float, rms: float = NOISE_RMS, seed: int = 1) -> Samples:
    """White noise."""
    drawn = np.random.default_rng(seed).standard_normal(round(duration_s * SAMPLE_RATE_HZ))
    return np.asarray(rms * drawn, dtype=np.float32)


def tones(duration_s: float, frequencies_hz: Sequence[float], rms: float) -> Samples:
    """Sines of equal strength, together so loud."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    waves = np.sum([np.sin(2 * np.pi * frequency * time_s) for frequency in frequencies_hz], axis=0)
    return np.asarray(waves * rms / np.sqrt(np.mean(waves**2)), dtype=np.float32)


def chords(duration_s: float) -> Samples:
    """C, A minor, F and G in turn, each fading, with three overtones a note."""
    roots_hz = ((261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7))
    length_s = duration_s / len(roots_hz)
    fade = np.exp(-2.0 * np.linspace(0.0, 1.0, round(length_s * SAMPLE_RATE_HZ), dtype=np.float32))
    played = [tones(length_s, [root * n for root in roots for n in (1, 2, 3)], CHORD_RMS) for roots in roots_hz]
    return np.concatenate([chord[: fade.size] * fade[: chord.size] for chord in played])


_OF_A_LANGUAGE: Mapping[str, Callable[[Sequence[Utterance]], Samples]] = {
    "raw": lambda spoken: spread(spoken, lambda: silence(PAUSE_S)),
    "levelled": lambda spoken: spread(levelled(spoken), lambda: silence(PAUSE_S)),
    "quiet and loud": lambda spoken: spread(quiet_and_loud(spoken), lambda: silence(PAUSE_S)),
    "long pauses": lambda spoken: spread(levelled(spoken), lambda: silence(LONG_PAUSE_S)),
    "noise between": lambda spoken: spread(levelled(spoken), lambda: noise(BETWEEN_S)),
    "music between": lambda spoken: spread(levelled(spoken), lambda: chords(BETWEEN_S)),
}
JOINS = tuple(_OF_A_LANGUAGE)


def join(name: str, language: str, spoken: Sequence[Utterance]) -> Recording:
    """All utterances of a language in one recording, in the way of that name."""
    return Recording(name, language, _OF_A_LANGUAGE[name](spoken), " ".join(one.words for one in spoken))


def clean(folder: Path) -> Iterator[Recording]:
    """One clear speaker: the recording that is shipped, and a known speech where FOLDER has it."""
    words = (EXAMPLES / "recording.txt").read_text(encoding="utf-8")
    yield Recording("tides", "en", samples_of(EXAMPLES / "tides.ogg"), words)
    if (folder / "jfk.flac").exists():
        yield Recording("jfk", "en", samples_of(folder / "jfk.flac"), _JFK)


def provokers() -> list[Recording]:
    """Sounds after which Whisper is known to repeat itself or to make something up."""
    speech = samples_of(EXAMPLES / "tides.ogg")
    word, sentence = speech[: SAMPLE_RATE_HZ * 35 // 100], speech[: 4 * SAMPLE_RATE_HZ]
    sounds = {
        "tone": tones(20.0, [440.0], 0.2),
        "hum": tones(20.0, [50.0, 100.0, 150.0, 200.0, 250.0], 0.15),
        "noise": noise(20.0, 0.1),
        "cut-off word": np.tile(word, 40),
        "long pause": np.concatenate([sentence, silence(60.0), word]),
    }
    return [Recording(name, "en", samples, None) for name, samples in sounds.items()]


def joined(data: Path, language: str, seconds: float) -> tuple[NDArray[np.int16], str]:
    """Levelled utterances in changing order, so many seconds or a little more, shape (n,), and their words.

    For measuring speed. English has the shipped recording among them.
    """
    spoken = levelled(utterances(data, language))
    if language == "en":
        spoken += [Utterance(level(one.samples), one.reference or "") for one in clean(data)]
    drawn = np.random.default_rng(0)
    endless = (spoken[index] for _ in itertools.count() for index in drawn.permutation(len(spoken)))
    order: list[Utterance] = []
    while sum(one.samples.size / SAMPLE_RATE_HZ + PAUSE_S for one in order) < seconds:
        order.append(next(endless))
    samples = spread(order, lambda: silence(PAUSE_S))
    return np.rint(samples * (FULL_SCALE - 1)).astype(np.int16), " ".join(one.words for one in order)


def write_flac(samples: NDArray[np.int16], path: Path) -> None:
    """16-bit samples of shape (n,), 16 kHz mono, as a FLAC file."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono", format="s16")
        for start in range(0, samples.size, SAMPLE_RATE_HZ):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + SAMPLE_RATE_HZ], "s16", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
