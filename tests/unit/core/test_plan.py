"""Regions become clips and clips become chunks: nothing is lost, nothing is cut that need not be."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from core.plan import MAX_CLIP_S, MAX_GAP_S, MAX_SPAN_FACTOR, AudioChunk, Clip, Region, pack_clips, plan_chunks


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
    assert all(0 < clip.end_s - clip.start_s <= MAX_CLIP_S + 1e-6 for clip in clips)
    assert all(left.end_s <= right.start_s for left, right in itertools.pairwise(clips))


@given(region_lists())
def test_a_clip_ends_inside_a_region_only_if_that_region_is_longer_than_a_clip(regions: list[Region]) -> None:
    for clip in pack_clips(regions):
        for region in regions:
            if region.end_s - region.start_s <= MAX_CLIP_S:
                assert not region.start_s < clip.start_s < region.end_s
                assert not region.start_s < clip.end_s < region.end_s


def test_regions_with_a_short_pause_share_a_clip() -> None:
    assert list(pack_clips([Region(1, 5), Region(5 + MAX_GAP_S, 9)])) == [clip((1, 5), (5 + MAX_GAP_S, 9))]


def test_a_pause_longer_than_the_limit_ends_the_clip() -> None:
    assert list(pack_clips([Region(1, 5), Region(6.1, 9)])) == [clip((1, 5)), clip((6.1, 9))]


def test_a_region_that_would_make_the_clip_too_long_begins_the_next_clip() -> None:
    assert list(pack_clips([Region(0, 20), Region(20.5, 31)])) == [clip((0, 20)), clip((20.5, 31))]


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
        audio_s = sum(clip.end_s - clip.start_s for clip in chunk.clips)
        assert audio_s <= target_s + 1e-6 or len(chunk.clips) == 1


def test_a_clip_longer_than_the_target_is_a_chunk_of_its_own() -> None:
    clips = [clip((0, 25)), clip((26, 50))]
    assert list(plan_chunks(clips, 10)) == [AudioChunk((each,)) for each in clips]


def test_sparse_speech_does_not_make_one_chunk_that_spans_hours() -> None:
    clips = [clip((minute * 60, minute * 60 + 2)) for minute in range(120)]
    assert all(chunk.end_s - chunk.start_s <= 60 * MAX_SPAN_FACTOR for chunk in plan_chunks(clips, 60))


def test_a_recording_without_an_end_gives_its_first_chunk_all_the_same() -> None:
    heard = (Region(6.0 * n, 6.0 * n + 5) for n in itertools.count())
    chunk = next(plan_chunks(pack_clips(heard), 60))
    assert 45 <= chunk.end_s <= 60
    assert next(heard).start_s <= 60 + 2 * MAX_CLIP_S
