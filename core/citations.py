"""How a place in an input is written for a person: `p. 3`, `pp. iii–iv`, `00:41`, and a link to it."""

from __future__ import annotations

from core.passages import Passage

_HOUR_S = 3600


def label(passage: Passage) -> str:
    """The pages as they are printed, or when in the recording it begins."""
    if passage.page_from is None:
        return clock(passage.start_s or 0.0)
    pages = passage.page_label or _pages(passage.page_from, passage.page_to or passage.page_from)
    return f"{'pp.' if '–' in pages else 'p.'} {pages}"


def _pages(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"


def clock(time_s: float) -> str:
    """`00:41`, and `1:02:03` from an hour on; part seconds are left out, so that one hears it come."""
    whole = int(time_s)
    minutes = f"{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // _HOUR_S}:{minutes}" if whole >= _HOUR_S else minutes


def link(passage: Passage, *, video_id: str | None, url: str | None) -> str | None:
    """Where to see or hear it: the video from that second on, the PDF at that page, the file at that second."""
    if passage.start_s is not None and video_id is not None:
        return f"https://www.youtube.com/watch?v={video_id}&t={int(passage.start_s)}s"
    if url is None:
        return None
    place = f"page={passage.page_from}" if passage.page_from is not None else f"t={int(passage.start_s or 0)}"
    return f"{url.split('#')[0]}#{place}"
