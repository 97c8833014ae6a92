"""Speech is told from silence and from sound that is no speech."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.engine import SAMPLE_RATE_HZ
from models.vad import MAX_REGION_S, find_speech

EXAMPLE = Path(__file__).parents[3] / "examples/tides.ogg"


def recording() -> NDArray[np.float32]:
    """The sample recording of the repository, shape (n_samples,)."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(EXAMPLE)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32) / np.float32(32_768)


def test_silence_and_noise_hold_no_speech() -> None:
    noise = np.random.default_rng(7).normal(0, 0.05, 5 * SAMPLE_RATE_HZ).astype(np.float32)
    assert find_speech(np.zeros_like(noise)) == []
    assert find_speech(noise) == []
    assert find_speech(noise[:0]) == []


def test_speech_between_silences_is_found_where_it_is() -> None:
    spoken = recording()
    silence = np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    regions = find_speech(np.concatenate([silence, spoken, silence]))
    end_s = 3 + spoken.size / SAMPLE_RATE_HZ
    assert 2.5 < regions[0].start_s < 7.0
    assert end_s - 4.0 < regions[-1].end_s < end_s + 0.5
    assert sum(region.end_s - region.start_s for region in regions) > 0.7 * (end_s - 3)
    assert all(left.end_s <= right.start_s for left, right in itertools.pairwise(regions))
    assert all(0 < region.end_s - region.start_s <= MAX_REGION_S for region in regions)


def test_a_quiet_speaker_is_found_where_the_same_one_is_found_when_loud() -> None:
    spoken = recording()
    loud, quiet = find_speech(spoken), find_speech(spoken * np.float32(0.002))
    assert [region.start_s for region in quiet] == pytest.approx([region.start_s for region in loud], abs=0.1)
    assert [region.end_s for region in quiet] == pytest.approx([region.end_s for region in loud], abs=0.1)
