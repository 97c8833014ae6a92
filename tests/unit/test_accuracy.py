"""The benchmark of accuracy: its recordings are what they say they are, and its limits are told when they break."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.accuracy_limits import ALONE, BATCHED, OURS, SEQUENTIAL, Row, broken, count_loops
from benchmarks.recordings import (
    BETWEEN_S,
    CHORD_RMS,
    JOINS,
    Samples,
    Utterance,
    chords,
    clean,
    join,
    noise,
    provokers,
    quiet_and_loud,
    write_flac,
)
from models.engine import SAMPLE_RATE_HZ

SPOKEN = [Utterance(noise(2.0, rms, seed=number), f"words {number}") for number, rms in enumerate((0.3, 0.01, 0.1))]


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def row(case: str, way: str, wer: float | None, language: str = "en", loops: int = 0) -> Row:
    return Row(case, language, way, 10.0, wer, wer, 5.0, 2.0, loops, 3, "")


@pytest.mark.parametrize("name", JOINS)
def test_a_join_holds_every_utterance_and_all_words_in_order(name: str) -> None:
    joined = join(name, "en", SPOKEN)
    assert joined.reference == "words 0 words 1 words 2"
    assert joined.duration_s > sum(one.samples.size for one in SPOKEN) / SAMPLE_RATE_HZ
    assert np.max(np.abs(joined.samples)) <= 2.0


def test_the_raw_join_keeps_every_loudness_and_the_levelled_one_has_one() -> None:
    second = slice(round(2.5 * SAMPLE_RATE_HZ), round(4.5 * SAMPLE_RATE_HZ))
    assert rms(join("raw", "en", SPOKEN).samples[second]) == pytest.approx(0.01, rel=0.05)
    assert rms(join("levelled", "en", SPOKEN).samples[second]) == pytest.approx(0.1, rel=0.05)


def test_every_second_speaker_of_the_mix_is_30_db_quieter() -> None:
    loud, quiet, again = (rms(one.samples) for one in quiet_and_loud(SPOKEN))
    assert loud == pytest.approx(0.1, rel=0.05)
    assert quiet == pytest.approx(0.1 / 31.6, rel=0.05)
    assert again == pytest.approx(loud, rel=0.05)


def test_the_music_is_as_long_and_about_as_loud_as_it_says() -> None:
    music = chords(BETWEEN_S)
    assert music.size / SAMPLE_RATE_HZ == pytest.approx(BETWEEN_S, abs=0.01)
    assert CHORD_RMS / 3 < rms(music) <= CHORD_RMS


def test_the_shipped_recording_is_among_the_clean_ones_with_its_words(tmp_path: Path) -> None:
    (tides,) = clean(tmp_path)
    assert tides.reference is not None
    assert tides.reference.startswith("Welcome to a short talk about the tides")


def test_what_provokes_loops_has_nothing_to_compare_with() -> None:
    assert {one.name: one.reference for one in provokers()} == dict.fromkeys(
        ["tone", "hum", "noise", "cut-off word", "long pause"]
    )


def test_a_flac_file_gives_back_the_samples_that_were_written(tmp_path: Path) -> None:
    samples = np.random.default_rng(3).integers(-9000, 9000, 40_000, dtype=np.int16)
    write_flac(samples, tmp_path / "a.flac")
    with av.open(str(tmp_path / "a.flac")) as container:
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.array_equal(decoded, samples)


def test_a_loop_is_counted_within_a_segment_and_over_segments() -> None:
    assert count_loops(["One.", "thank you. " * 20, "Two."]) == 1
    assert count_loops(["Yes.", *[" Thank you."] * 6, "No."]) == 1
    assert count_loops(["Yes.", "Yes.", "No.", "Yes."]) == 0


@pytest.mark.parametrize(
    ("rows", "n_broken"),
    [
        ([row("raw", OURS, 0.10), row(ALONE, ALONE, 0.09)], 0),
        ([row("raw", OURS, 0.11), row(ALONE, ALONE, 0.09)], 1),
        ([row("raw", OURS, 0.10, "de"), row(ALONE, ALONE, 0.05)], 0),
        ([row("raw", OURS, 0.21), row("raw", BATCHED, 0.60)], 1),
        ([row("levelled", OURS, 0.10), row("levelled", BATCHED, 0.05), row("levelled", SEQUENTIAL, 0.2)], 1),
        ([row("jfk", OURS, 0.0), row("jfk", SEQUENTIAL, 0.0)], 0),
        ([row("tone", OURS, None, loops=1), row("tone", BATCHED, None, loops=9)], 1),
    ],
    ids=["as alone", "worse than alone", "another language", "not a third", "worse than a mode", "equal", "a loop"],
)
def test_a_limit_that_is_broken_is_told(rows: list[Row], n_broken: int) -> None:
    assert len(broken(rows)) == n_broken
