"""Whisper's segments come out timed, in order and without loops, whatever a single decoding did."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import jiwer
import numpy as np
import pytest
from numpy.typing import NDArray

from core.plan import Region, pack_clips
from models import vad, weights
from models.engine import SAMPLE_RATE_HZ, Clip, Segment, TranscribeOptions
from models.errors import BatchSize, DeviceFailed, OutOfDeviceMemory
from models.registry import ModelKind, find
from models.whisper import WhisperEngine

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD = "The tide comes in twice a day and goes out again."
LOOP = "thank you. " * 20


class ScriptedModel:
    """Stands for both modes of faster-whisper: gives each clip the texts that it is told, and notes what is asked."""

    def __init__(self, batched: dict[float, list[Any]], again: list[Any]) -> None:
        self.model = SimpleNamespace(is_multilingual=False)
        self.batched = batched
        self.again = again
        self.decoded_again_s: list[float] = []

    def transcribe(self, audio: NDArray[np.float32], **asked: Any) -> tuple[Iterator[Any], None]:
        if "clip_timestamps" not in asked:
            self.decoded_again_s.append(audio.size / SAMPLE_RATE_HZ)
            return iter(self.again), None
        starts = [span["start"] for span in asked["clip_timestamps"]]
        found = [segment for start in starts for segment in self.batched[start]]
        return iter(found), None


def spoken(start: float, end: float, text: str, avg_logprob: float = -0.2, offset: float = 0.0) -> Any:
    """A segment as faster-whisper gives it; `offset` is the start of its clip."""
    return SimpleNamespace(
        start=start, end=end, text=f" {text}", avg_logprob=avg_logprob, compression_ratio=1.0, no_speech_prob=0.0,
        temperature=0.0, words=None, seek=int(offset * 100),
    )  # fmt: skip


def scripted(batched: dict[float, list[Any]], again: Sequence[Any] = ()) -> tuple[WhisperEngine, ScriptedModel]:
    model = ScriptedModel(batched, list(again))
    engine = WhisperEngine.__new__(WhisperEngine)
    vars(engine).update(_model=model, _pipeline=model, _batch=BatchSize(2))
    return engine, model


def run(engine: WhisperEngine, clips: Sequence[Clip]) -> list[Segment]:
    audio = np.zeros(100 * SAMPLE_RATE_HZ, dtype=np.float32)
    return list(engine.transcribe(audio, clips, TranscribeOptions()).segments)


def test_good_segments_are_kept_as_they_are_over_several_batches() -> None:
    clips = [Clip(start, start + 8.0) for start in (1.0, 10.0, 20.5)]
    engine, model = scripted({c.start_s: [spoken(c.start_s, c.end_s, GOOD, offset=c.start_s)] for c in clips})
    segments = run(engine, clips)
    assert [(s.start_s, s.end_s, s.text) for s in segments] == [(c.start_s, c.end_s, GOOD) for c in clips]
    assert model.decoded_again_s == []


def test_a_clip_that_loops_is_decoded_again_and_its_neighbour_is_not() -> None:
    again = [spoken(0.0, 9.0, "What was really said.")]
    batched = {0.0: [spoken(0, 9, LOOP)], 10.0: [spoken(10, 19, GOOD, offset=10)]}
    engine, model = scripted(batched, again)
    segments = run(engine, [Clip(0, 9), Clip(10, 19)])
    assert [s.text for s in segments] == ["What was really said.", GOOD]
    assert model.decoded_again_s == [9.0]


def test_a_clip_that_the_model_does_not_believe_itself_is_decoded_again() -> None:
    engine, model = scripted({0.0: [spoken(0, 9, GOOD, avg_logprob=-1.4)]}, [spoken(0, 9, "Better.")])
    assert [s.text for s in run(engine, [Clip(0, 9)])] == ["Better."]
    assert model.decoded_again_s == [9.0]


@pytest.mark.parametrize("again", [[spoken(0, 9, LOOP)], [spoken(i, i + 1, "Thank you.") for i in range(9)]])
def test_a_loop_that_survives_every_temperature_is_said_once(again: list[Any]) -> None:
    engine, _ = scripted({0.0: [spoken(0, 9, LOOP)]}, again)
    assert [s.text.lower() for s in run(engine, [Clip(0, 9)])] == ["thank you."]


def test_the_end_of_a_clip_that_no_segment_covers_is_decoded_again_at_its_own_time() -> None:
    engine, model = scripted({5.0: [spoken(5, 15, GOOD, offset=5)]}, [spoken(0.5, 9.5, "The lost end.")])
    segments = run(engine, [Clip(5, 25)])
    assert [(s.start_s, s.end_s, s.text) for s in segments] == [(5, 15, GOOD), (15.5, 24.5, "The lost end.")]
    assert model.decoded_again_s == [10.0]


def test_speech_that_was_skipped_inside_a_clip_is_decoded_again_and_put_in_its_place() -> None:
    engine, model = scripted({0.0: [spoken(0, 6, "First."), spoken(16, 20, "Third.")]}, [spoken(0, 10, "Second.")])
    assert [s.text for s in run(engine, [Clip(0, 21)])] == ["First.", "Second.", "Third."]
    assert model.decoded_again_s == [10.0]


def test_a_clip_without_any_segment_is_decoded_again_whole() -> None:
    engine, model = scripted({5.0: []}, [])
    assert run(engine, [Clip(5, 25)]) == []
    assert model.decoded_again_s == [20.0]


def test_times_are_held_inside_the_clip_and_in_order() -> None:
    batched = {0.0: [spoken(-1, 4, "One."), spoken(3, 2, "Two."), spoken(2, 29.98, "Three."), spoken(9, 9, "")]}
    engine, _ = scripted(batched)
    segments = run(engine, [Clip(0, 10)])
    assert [(s.start_s, s.end_s) for s in segments] == [(0, 4), (3, 3), (3, 10)]


@pytest.mark.parametrize(
    "clips", [[Clip(0, 31)], [Clip(5, 5)], [Clip(0, 5), Clip(4, 9)]], ids=["too long", "empty", "overlapping"]
)
def test_clips_that_the_model_would_cut_silently_are_refused(clips: list[Clip]) -> None:
    engine, _ = scripted({})
    with pytest.raises(ValueError, match="at most 30 s"):
        run(engine, clips)


def test_a_full_device_is_told_as_such_while_iterating() -> None:
    engine, model = scripted({})
    model.transcribe = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("CUDA failed: out of memory"))  # type: ignore[method-assign]
    with pytest.raises(OutOfDeviceMemory, match="out of memory"):
        run(engine, [Clip(0, 5)])


def test_a_batch_that_does_not_fit_is_decoded_in_halves_and_so_are_all_later_ones() -> None:
    spans = [Clip(0, 5), Clip(5, 10), Clip(10, 15)]
    engine, model = scripted(
        {clip.start_s: [spoken(clip.start_s, clip.end_s, GOOD, offset=clip.start_s)] for clip in spans}
    )
    decode, tried = model.transcribe, []

    def full(audio: NDArray[np.float32], **asked: Any) -> tuple[Iterator[Any], None]:
        tried.append(len(asked["clip_timestamps"]))
        if tried[-1] > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        return decode(audio, **asked)

    model.transcribe = full  # type: ignore[method-assign]
    assert [s.start_s for s in run(engine, spans)] == [0, 5, 10]
    assert tried == [2, 1, 1, 1]


def test_a_device_that_is_broken_for_this_process_is_told_as_such() -> None:
    engine, model = scripted({})
    broken = RuntimeError("CUDA failed with error an illegal memory access was encountered")
    model.transcribe = lambda *_, **__: (_ for _ in ()).throw(broken)  # type: ignore[method-assign]
    with pytest.raises(DeviceFailed, match="illegal memory access"):
        run(engine, [Clip(0, 5)])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WhisperEngine]:
    """The real base model, from whichever place has its weights."""
    cache_dir = tmp_path_factory.mktemp("weights")
    folder = weights.locate(find("base", ModelKind.WHISPER), models_dir=None, cache_dir=cache_dir, download=False)
    loaded = WhisperEngine(folder, device="cpu", threads=2)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def recording() -> NDArray[np.float32]:
    """The sample recording of the repository."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(EXAMPLES / "tides.ogg")) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return np.asarray(samples / 32_768, dtype=np.float32)


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def test_the_real_model_reads_a_recording_back_almost_word_for_word(
    engine: WhisperEngine, recording: NDArray[np.float32]
) -> None:
    regions = [Region(found.start_s, found.end_s) for found in vad.find_speech(recording)]
    clips = [Clip(packed.start_s, packed.end_s) for packed in pack_clips(regions)][:2]
    answer = engine.transcribe(recording, clips, TranscribeOptions(word_timestamps=True))
    segments = list(answer.segments)
    heard = " ".join(segment.text for segment in segments)
    assert answer.language == "en"
    spoken_words = plain((EXAMPLES / "recording.txt").read_text()).split()[: len(plain(heard).split())]
    assert len(spoken_words) > 60
    assert jiwer.wer(" ".join(spoken_words), plain(heard)) < 0.15
    assert all(left.start_s <= right.start_s for left, right in itertools.pairwise(segments))
    assert all(segment.start_s <= segment.end_s for segment in segments)
    words = [word for segment in segments for word in segment.words]
    assert plain(" ".join(word.text for word in words)) == plain(heard)
    assert all(0 <= word.start_s <= word.end_s <= recording.size / SAMPLE_RATE_HZ for word in words)


def test_nothing_to_transcribe_is_no_segments_and_no_language(engine: WhisperEngine) -> None:
    answer = engine.transcribe(np.zeros(SAMPLE_RATE_HZ, np.float32), [], TranscribeOptions())
    assert (answer.language, list(answer.segments)) == (None, [])
