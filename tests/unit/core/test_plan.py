"""Regions become clips and clips become chunks: nothing is lost, nothing is cut that need not be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.plan import (
    MAX_CLIP_S,
    MAX_GAP_S,
    MAX_PAUSE_S,
    SHORTEST_CHUNK_S,
    AudioChunk,
    Clip,
    MediaClock,
    Region,
    pack_clips,
    plan_chunks,
)


@st.composite
def region_lists(draw: st.DrawFn) -> list[Region]:
    """Ordered regions that do not overlap, some longer than a clip, some with hardly a pause between them."""
    spans = draw(st.lists(st.tuples(st.floats(0.0, 120.0), st.floats(0.05, 95.0)), max_size=40))
    regions, now_s = [], 0.0
    for pause_s, length_s in spans:
        regions.append(Region(now_s + pause_s, now_s + pause_s + length_s))
        now_s = regions[-1].end_s
    return regions


def clip(*spans: tuple[float, float]) -> Clip:
    return Clip(tuple(Region(start_s, end_s) for start_s, end_s in spans))


@given(region_lists())
def test_every_region_lies_in_clips(regions: list[Region]) -> None:
    clips = list(pack_clips(regions))
    for region in regions:
        inside = [clip for clip in clips if clip.end_s > region.start_s and clip.start_s < region.end_s]
        assert inside[0].start_s <= region.start_s
        assert inside[-1].end_s >= region.end_s
        assert all(left.end_s == right.start_s for left, right in itertools.pairwise(inside))


@given(region_lists())
def test_clips_keep_the_order_and_stay_within_the_window_of_the_model(regions: list[Region]) -> None:
    clips = list(pack_clips(regions))
    assert all(0 < clip.audio_s() <= MAX_CLIP_S + 1e-6 for clip in clips)
    assert all(left.end_s <= right.start_s for left, right in itertools.pairwise(clips))


@given(region_lists())
def test_a_clip_ends_inside_a_region_only_if_that_region_is_longer_than_a_clip(regions: list[Region]) -> None:
    for clip in pack_clips(regions):
        for region in regions:
            if region.end_s - region.start_s <= MAX_CLIP_S:
                assert not region.start_s < clip.start_s < region.end_s
                assert not region.start_s < clip.end_s < region.end_s


def test_regions_share_a_clip_although_their_speaker_pauses() -> None:
    assert list(pack_clips([Region(1, 5), Region(5 + MAX_GAP_S, 9 + MAX_GAP_S)])) == [
        clip((1, 5), (5 + MAX_GAP_S, 9 + MAX_GAP_S))
    ]


def test_a_pause_longer_than_the_limit_ends_the_clip() -> None:
    assert list(pack_clips([Region(1, 5), Region(5.1 + MAX_GAP_S, 12)])) == [clip((1, 5)), clip((5.1 + MAX_GAP_S, 12))]


def test_a_region_that_would_make_the_clip_too_long_begins_the_next_clip() -> None:
    assert list(pack_clips([Region(0, 20), Region(20.5, 31)])) == [clip((0, 20)), clip((20.5, 31))]


def test_what_counts_of_a_clip_is_its_audio_with_its_pauses_cut_short() -> None:
    regions = [Region(10.0 * n, 10.0 * n + 7) for n in range(4)]
    (packed,) = pack_clips(regions)
    assert packed.audio_s() == pytest.approx(4 * 7 + 3 * MAX_PAUSE_S)


def test_a_region_longer_than_a_clip_is_cut_into_equal_parts() -> None:
    assert list(pack_clips([Region(10, 85)])) == [clip((10, 35)), clip((35, 60)), clip((60, 85))]


def test_silence_makes_no_clip_and_no_chunk() -> None:
    assert list(plan_chunks(pack_clips([]), 60)) == []


@given(region_lists(), st.floats(30.0, 600.0))
def test_chunks_hold_every_clip_once_and_in_order(regions: list[Region], target_s: float) -> None:
    clips = list(pack_clips(regions))
    chunks = plan_chunks(clips, target_s)
    assert [clip for chunk in chunks for clip in chunk.clips] == clips


@given(region_lists(), st.floats(30.0, 600.0))
def test_chunks_do_not_overlap_and_hold_about_the_audio_that_was_asked_for(
    regions: list[Region], target_s: float
) -> None:
    chunks = list(plan_chunks(pack_clips(regions), target_s))
    assert all(left.end_s <= right.start_s for left, right in itertools.pairwise(chunks))
    for chunk in chunks:
        assert (chunk.start_s, chunk.end_s) == (chunk.clips[0].start_s, chunk.clips[-1].end_s)
        audio_s = sum(clip.audio_s() for clip in chunk.clips)
        assert audio_s <= target_s + 1e-6 or len(chunk.clips) == 1


def test_the_first_chunk_is_short_so_that_there_is_soon_something_to_read() -> None:
    clips = [clip((20.0 * n, 20.0 * n + 9)) for n in range(20)]
    lengths_s = [chunk.audio_s for chunk in plan_chunks(clips, 100)]
    assert lengths_s[0] <= SHORTEST_CHUNK_S < 90 < lengths_s[1]


def test_a_clip_longer_than_the_target_is_a_chunk_of_its_own() -> None:
    clips = [clip((0, 25)), clip((26, 50))]
    assert list(plan_chunks(clips, 10)) == [AudioChunk((each,)) for each in clips]


def test_sparse_speech_carries_no_silence_along() -> None:
    clips = [clip((minute * 60, minute * 60 + 2)) for minute in range(20)]
    first, second = plan_chunks(clips, 60)
    assert len(first.clips) + len(second.clips) == 20
    assert first.audio_s + second.audio_s == pytest.approx(20 * 2 + 18 * MAX_PAUSE_S)


@given(region_lists(), st.data())
def test_every_moment_of_a_chunk_is_told_when_it_was_in_the_media(regions: list[Region], data: st.DataObject) -> None:
    for chunk in plan_chunks(pack_clips(regions), 60):
        clock = MediaClock(chunk)
        placed = data.draw(st.sampled_from([one for clip in chunk.layout() for one in clip]))
        inside = data.draw(st.floats(0.01, 0.99)) * placed.region.length_s
        for told_s in (clock.begins_s(placed.at_s + inside), clock.ends_s(placed.at_s + inside)):
            assert told_s == pytest.approx(placed.region.start_s + inside, abs=1e-6)
        moments = sorted(data.draw(st.lists(st.floats(0.0, chunk.audio_s), min_size=2, max_size=6)))
        for clocked in (clock.begins_s, clock.ends_s):
            told = [clocked(moment) for moment in moments]
            assert told == sorted(told)
            assert all(chunk.start_s <= moment <= chunk.end_s for moment in told)


def test_what_begins_in_a_pause_begins_after_it_and_what_ends_in_it_ended_before() -> None:
    clock = MediaClock(AudioChunk((clip((10, 12), (16, 18)),), max_pause_s=0.5))
    assert (clock.begins_s(2.2), clock.ends_s(2.2)) == (16, 12)
    assert (clock.begins_s(2.0), clock.ends_s(2.5)) == (16, 12)
    assert (clock.begins_s(2.5), clock.ends_s(2.0)) == (16, 12)


def test_a_recording_without_an_end_gives_its_first_chunk_all_the_same() -> None:
    heard = (Region(6.0 * n, 6.0 * n + 5) for n in itertools.count())
    first, second = itertools.islice(plan_chunks(pack_clips(heard), 60), 2)
    assert 20 <= first.end_s <= 36
    assert 45 <= second.end_s - second.start_s <= 72
    assert next(heard).start_s <= second.end_s + 2 * MAX_CLIP_S


def test_a_word_was_said_in_one_region_also_where_it_was_aligned_with_the_pause() -> None:
    clock = MediaClock(AudioChunk((clip((10, 12), (16, 18)),), max_pause_s=0.5))
    assert clock.in_one_region_s(1.5, 2.6) == (11.5, 12)
    assert clock.in_one_region_s(1.9, 3.0) == (16, 16.5)
    assert clock.in_one_region_s(2.1, 2.4) in ((12, 12), (16, 16))
    assert clock.in_one_region_s(0.5, 1.0) == (10.5, 11.0)
