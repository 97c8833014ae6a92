"""Whisper's segments come out timed, in order and without loops, whatever a single decoding did."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import jiwer
import numpy as np
import pytest
from numpy.typing import NDArray

from core.plan import Region, pack_clips, plan_chunks
from models import vad, weights
from models.batching import BatchSize
from models.engine import SAMPLE_RATE_HZ, Clip, Doubt, Segment, Span, TranscribeOptions
from models.errors import DeviceFailed, OutOfDeviceMemory
from models.patience import Patience
from models.registry import ModelKind, find
from models.repetition import loops
from models.whisper import WhisperEngine
from workers.stages.transcribe import clips_of

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD = "The tide comes in twice a day and goes out again."
LOOP = "thank you. " * 20


class ScriptedModel:
    """Stands for both modes of faster-whisper: gives each clip the texts that it is told, and notes what is asked."""

    def __init__(self, batched: Mapping[Any, list[Any]], again: list[Any]) -> None:
        self.model = SimpleNamespace(is_multilingual=False)
        self.hf_tokenizer = SimpleNamespace(encode=lambda text, **_: SimpleNamespace(ids=text.split()), decode=" ".join)
        self.batched = batched
        self.again = again
        self.decoded_again_s: list[float] = []
        self.asked: list[dict[str, Any]] = []

    def transcribe(self, audio: NDArray[np.float32], **asked: Any) -> tuple[Iterator[Any], None]:
        self.asked.append(asked)
        if "clip_timestamps" not in asked:
            self.decoded_again_s.append(audio.size / SAMPLE_RATE_HZ)
            return iter(self.again), None
        spans = [(span["start"], span["end"]) for span in asked["clip_timestamps"]]
        found = [segment for span in spans for segment in self.batched.get(span) or self.batched[span[0]]]
        return iter(found), None


def spoken(start: float, end: float, text: str, avg_logprob: float = -0.2, offset: float = 0.0) -> Any:
    """A segment as faster-whisper gives it; `offset` is the start of its clip."""
    return SimpleNamespace(
        start=start, end=end, text=f" {text}", avg_logprob=avg_logprob, compression_ratio=1.0, no_speech_prob=0.0,
        temperature=0.0, words=None, seek=int(offset * 100),
    )  # fmt: skip


def scripted(batched: Mapping[Any, list[Any]], again: Sequence[Any] = ()) -> tuple[WhisperEngine, ScriptedModel]:
    model = ScriptedModel(batched, list(again))
    engine = WhisperEngine.__new__(WhisperEngine)
    vars(engine).update(_model=model, _pipeline=model, _batch=BatchSize(2))
    return engine, model


def run(engine: WhisperEngine, clips: Sequence[Clip], options: TranscribeOptions | None = None) -> list[Segment]:
    audio = np.zeros(100 * SAMPLE_RATE_HZ, dtype=np.float32)
    return list(engine.transcribe(audio, clips, options or TranscribeOptions()).segments)


def clip(*speech: tuple[float, float]) -> Clip:
    return Clip(speech[0][0], speech[-1][1], tuple(Span(*span) for span in speech))


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
    (segment,) = run(engine, [Clip(0, 9)])
    assert (segment.text.lower(), segment.doubt) == ("thank you.", Doubt.REPEATED)
    assert (segment.start_s, segment.end_s) == (0, 9)


def test_a_clip_of_which_some_speech_came_to_nothing_is_decoded_anew_in_halves() -> None:
    batched = {
        (0.0, 20.0): [spoken(0, 9, "First.")],
        (0.0, 9.0): [spoken(0, 9, "First again.")],
        (11.0, 20.0): [spoken(11, 20, "The lost end.", offset=11)],
    }
    engine, model = scripted(batched)
    segments = run(engine, [clip((0, 4), (5, 9), (11, 20))])
    assert [(s.start_s, s.end_s, s.text) for s in segments] == [(0, 9, "First again."), (11, 20, "The lost end.")]
    assert model.decoded_again_s == []


def test_a_half_that_does_not_hold_either_is_decoded_with_rising_temperatures() -> None:
    batched = {(0.0, 20.0): [spoken(0, 20, LOOP)], 0.0: [spoken(0, 9, GOOD)], 11.0: [spoken(11, 20, LOOP, offset=11)]}
    engine, model = scripted(batched, [spoken(0, 9, "At last.")])
    assert [s.text for s in run(engine, [clip((0, 9), (11, 20))])] == [GOOD, "At last."]
    assert model.decoded_again_s == [9.0]
    assert model.asked[-1]["temperature"] == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def test_when_patience_is_over_what_there_is_is_taken_and_what_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "is_over", True)
    engine, model = scripted({0.0: [spoken(0, 9, "First.", avg_logprob=-1.5)]})
    found = [(s.start_s, s.end_s, s.text, s.doubt) for s in run(engine, [clip((0, 9), (11, 20))])]
    assert found == [(0, 9, "First.", Doubt.UNSURE), (11, 20, "", Doubt.UNHEARD)]
    assert len(model.asked) == 1


def test_a_silent_part_of_a_clip_is_not_missed() -> None:
    engine, model = scripted({0.0: [spoken(0, 4, "First."), spoken(16, 20, "Second.")]})
    assert [s.text for s in run(engine, [clip((0, 4), (16, 20))])] == ["First.", "Second."]
    assert len(model.asked) == 1


def test_speech_of_which_nothing_comes_at_all_is_told() -> None:
    engine, model = scripted({5.0: []}, [])
    (segment,) = run(engine, [Clip(5, 25)])
    assert (segment.start_s, segment.end_s, segment.text, segment.doubt) == (5, 25, "", Doubt.UNHEARD)
    assert model.decoded_again_s == [20.0]


def test_what_the_model_never_believes_is_marked_and_so_is_what_it_takes_for_silence() -> None:
    again = [spoken(0, 4, "Perhaps this.", avg_logprob=-1.2), spoken(4, 9, "Thank you.", avg_logprob=-1.2)]
    again[1].no_speech_prob = 0.9
    engine, _ = scripted({0.0: [spoken(0, 9, GOOD, avg_logprob=-1.4)]}, again)
    found = [(s.start_s, s.end_s, s.text, s.doubt) for s in run(engine, [Clip(0, 9)])]
    assert found == [(0, 4, "Perhaps this.", Doubt.UNSURE), (4, 9, "", Doubt.UNHEARD)]


def test_text_where_nobody_speaks_is_left_out() -> None:
    batched = {0.0: [spoken(0, 4, GOOD), spoken(8, 10, "Thanks for watching!"), spoken(15, 19, GOOD)]}
    engine, _ = scripted(batched)
    assert [s.start_s for s in run(engine, [clip((0, 4), (15, 19))])] == [0, 15]


@pytest.mark.parametrize("task", ["transcribe", "translate"])
def test_every_decoding_knows_the_language_the_task_the_prompt_and_the_hotwords(task: str) -> None:
    batched = {(0.0, 20.0): [spoken(0, 20, LOOP)], 0.0: [spoken(0, 9, GOOD)], 11.0: [spoken(11, 20, LOOP, offset=11)]}
    engine, model = scripted(batched, [spoken(0, 9, GOOD)])
    run(engine, [clip((0, 9), (11, 20))], TranscribeOptions("de", task, "Wattenmeer", "Priel"))
    known = [(one["task"], one["initial_prompt"], one["hotwords"], one["word_timestamps"]) for one in model.asked]
    assert known == [(task, "Wattenmeer", "Priel", True)] * 4


def test_times_are_held_inside_the_clip_and_in_order() -> None:
    batched = {0.0: [spoken(-1, 4, "One."), spoken(3, 2, "Two."), spoken(2, 29.98, "Three."), spoken(9, 9, "")]}
    engine, _ = scripted(batched)
    segments = run(engine, [Clip(0, 10)])
    assert [(s.start_s, s.end_s) for s in segments] == [(0, 4), (4, 4), (4, 10)]


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
    chunk = next(plan_chunks(pack_clips(regions), 60))
    samples = np.zeros(round(chunk.audio_s * SAMPLE_RATE_HZ), np.float32)
    for placed in itertools.chain.from_iterable(chunk.layout()):
        first, last = (round(s * SAMPLE_RATE_HZ) for s in (placed.region.start_s, placed.region.end_s))
        samples[round(placed.at_s * SAMPLE_RATE_HZ) :][: last - first] = recording[first:last]
    answer = engine.transcribe(samples, clips_of(chunk), TranscribeOptions())
    segments = list(answer.segments)
    heard = " ".join(segment.text for segment in segments)
    assert answer.language == "en"
    spoken_words = plain((EXAMPLES / "recording.txt").read_text()).split()[: len(plain(heard).split())]
    assert len(spoken_words) > 60
    assert jiwer.wer(" ".join(spoken_words), plain(heard)) < 0.15
    assert len(segments) > 4
    assert all(segment.text.endswith((".", "?", "!")) for segment in segments)
    assert all(left.end_s <= right.start_s for left, right in itertools.pairwise(segments))
    words = [word for segment in segments for word in segment.words]
    assert plain("".join(word.text for word in words)) == plain(heard)
    assert all(left.end_s <= right.start_s for left, right in itertools.pairwise(words))
    assert all(
        segment.start_s <= word.start_s <= word.end_s <= segment.end_s for segment in segments for word in segment.words
    )


def test_the_real_model_translates_with_times_in_order(engine: WhisperEngine, recording: NDArray[np.float32]) -> None:
    """From English, which the repository has a recording of: what is asked of the model is the same."""
    audio = recording[: 20 * SAMPLE_RATE_HZ]
    answer = engine.transcribe(audio, [Clip(0.0, 20.0)], TranscribeOptions("en", "translate"))
    segments = list(answer.segments)
    heard = plain(" ".join(segment.text for segment in segments)).split()
    assert len(set(heard) & set(plain((EXAMPLES / "recording.txt").read_text()).split()[:60])) > 20
    assert all(0 <= left.start_s < left.end_s <= right.start_s for left, right in itertools.pairwise(segments))


def test_long_prompts_and_hotwords_leave_room_for_what_is_said(
    engine: WhisperEngine, recording: NDArray[np.float32]
) -> None:
    told = TranscribeOptions("en", prompt="tide moon " * 200, hotwords="Bay Fundy " * 200)
    segments = list(engine.transcribe(recording[: 20 * SAMPLE_RATE_HZ], [Clip(0.0, 20.0)], told).segments)
    assert len(" ".join(segment.text for segment in segments).split()) > 30


def noise(length_s: float, loudness: float) -> NDArray[np.float32]:
    drawn = np.random.default_rng(5).standard_normal(round(length_s * SAMPLE_RATE_HZ))
    return np.asarray(loudness * drawn, np.float32)


def tones(length_s: float, *pitches_hz: float) -> NDArray[np.float32]:
    times_s = np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    mixed = np.mean([0.3 * np.sin(2 * np.pi * pitch * times_s) for pitch in pitches_hz], axis=0)
    return np.asarray(mixed, np.float32)


PROVOKING: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "a tone": lambda speech: tones(12, 440),
    "hum": lambda speech: tones(12, 50, 100, 150) + noise(12, 0.003),
    "a chord that is taken for singing": lambda speech: tones(12, 220, 277, 330),
    "noise": lambda speech: noise(12, 0.1),
    "a word that is cut off": lambda speech: speech[: round(1.3 * SAMPLE_RATE_HZ)],
    "a word, and a long pause": lambda speech: np.concatenate(
        [speech[:40_000], np.zeros(24 * SAMPLE_RATE_HZ, np.float32)]
    ),
    "a word, and noise": lambda speech: np.concatenate([speech[:40_000], noise(20, 0.02)]),
}


@pytest.mark.parametrize("sound", PROVOKING)
def test_what_makes_whisper_repeat_itself_makes_no_loop_of_the_transcript(
    engine: WhisperEngine, recording: NDArray[np.float32], sound: str
) -> None:
    """All of it is given as speech, as if the detector had been wrong."""
    audio = PROVOKING[sound](recording)
    found = engine.transcribe(
        audio, [Clip(0.0, audio.size / SAMPLE_RATE_HZ)], TranscribeOptions(language="en")
    ).segments
    text = " ".join(segment.text for segment in found)
    assert not loops(text)
    assert len(text) < 200


def test_nothing_to_transcribe_is_no_segments_and_no_language(engine: WhisperEngine) -> None:
    answer = engine.transcribe(np.zeros(SAMPLE_RATE_HZ, np.float32), [], TranscribeOptions())
    assert (answer.language, list(answer.segments)) == (None, [])
